"""Live figures to many clients: one reader per process, each client at its own pace."""
