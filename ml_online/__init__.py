"""What comes next: models that learn online from the log, one file per model family."""
