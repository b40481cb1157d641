"""The log: what happened in a shop, and how it is carried."""
