"""Erasing a person: out of states, figures, models and caches, and unreadable on the log."""
