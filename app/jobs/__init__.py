"""What takes longer than an answer may: kept in a table, done by processes of their own."""
