"""What is asked of the states that commands decide about."""
