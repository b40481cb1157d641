"""What is true now: one file per read model, holding its fold, its upsert and its query."""
