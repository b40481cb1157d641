"""What a user would otherwise write or run, doing the same work on the same events."""
