"""The doors: HTTP and websockets, the worker, the local stack, the command line."""
