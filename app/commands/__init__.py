"""Commands: each one transaction, in which states are locked, decided about, and changed."""
