"""Ties a program to the life of its parent, then becomes that program.

Run as a script: `python tether.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT…]`; UID and GID are -1
to stay who we are. It needs nothing but the standard library. A script of its own, because between
fork and exec of a process with threads nothing may safely run, and a change of user clears the tie.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, uid: int, gid: int, argv: list[str]) -> None:
    """Never returns: the process ends, or is `argv`. Raises OSError where that cannot be run."""
    # Loaded first: the other account may not be able to read Python's own files.
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if prctl is not None and prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the tie was made
        return
    os.execv(argv[0], argv)


if __name__ == "__main__":
    parent, signal, uid, gid = map(int, sys.argv[1:5])
    main(parent, signal, uid, gid, sys.argv[5:])
