"""Killing things under load, and holding every figure against a recount of the log."""
