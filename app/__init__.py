"""The doors: HTTP and websockets, the worker, the local stack, the command line."""

import gc

# Modules stay until the end. To look through them again and again while they load takes a seventh
# of a process's start.
gc.set_threshold(20_000, 20, 20)
