"""Another account to run Postgres as, where we are root: Postgres refuses root."""

import errno
import fcntl
import os
import pwd
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.stack.errors import StackError

NAME = "tillstream"
SYSTEM_TOOLS = "/usr/sbin:/sbin:/usr/bin:/bin"

ACL = "system.posix_acl_access"
ACL_VERSION = struct.pack("<I", 2)
ACL_ENTRY = struct.Struct("<HHI")
OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
NO_ID = 0xFFFFFFFF

Entries = dict[tuple[int, int], int]
"""Permissions (rwx as three bits) by tag and id, as an access control list holds them."""


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int


def unprivileged(data: Path, note: Callable[[str], None]) -> Account | None:
    """Who is to own and serve `data`: None for ourselves, an account without rights for root.

    Raises StackError where root has no such account and cannot make one.
    """
    if os.geteuid() != 0:
        return None
    # Where another user ran the stack in this home before, the data stays that user's.
    owner = data.stat().st_uid if data.exists() else 0
    found = _by_uid(owner) if owner != 0 else None
    with _one_at_a_time():
        account = found or _by_name(NAME) or _created(note) or _by_name("nobody")
    if account is None:
        raise StackError(
            "Postgres does not run as root, and no other account could be made: run this as "
            "another user, or set TILLSTREAM_POSTGRES to a server of your own"
        )
    return account


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of several stacks that start for the first time, one makes the account and the others find
    it: while `useradd` is at work it may be seen, and be gone at the next look."""
    with Path("/etc/passwd").open() as accounts:
        fcntl.flock(accounts, fcntl.LOCK_EX)
        yield


def _by_name(name: str) -> Account | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(found.pw_name, found.pw_uid, found.pw_gid)


def _by_uid(uid: int) -> Account | None:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return None
    return Account(found.pw_name, found.pw_uid, found.pw_gid)


def _created(note: Callable[[str], None]) -> Account | None:
    """A system account of our own; None where this system has no `useradd` or refuses."""
    useradd = shutil.which("useradd", path=SYSTEM_TOOLS)
    if useradd is None:
        return None
    rights = ["--system", "--no-create-home", "--home-dir", "/nonexistent"]
    shell = ["--shell", shutil.which("nologin", path=SYSTEM_TOOLS) or "/bin/false"]
    made = subprocess.run([useradd, *rights, *shell, NAME], capture_output=True, check=False)
    if made.returncode == 0:
        note(f"made the system account '{NAME}': Postgres does not run as root")
    return _by_name(NAME)


def let_enter(directory: Path, account: Account, note: Callable[[str], None]) -> None:
    """Lets `account` pass through `directory` and all above it, to what it may read inside.

    Only that account where the file system knows access control lists, else everybody.
    """
    closed = [path for path in (directory, *directory.parents) if not _may_enter(path, account)]
    for path in closed:
        try:
            _write_acl(path, _entering(_read_acl(path), account))
            who = f"the account '{account.name}'"
        except OSError as refused:
            if refused.errno != errno.ENOTSUP:
                raise
            path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IXOTH)
            who = "every account"
        note(f"let {who} pass through {path}: Postgres does not run as root")


def let_read(tree: Path) -> None:
    """Lets every account read (and run, where the owner may) a tree of published software."""
    for path in (tree, *tree.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        runs = stat.S_IXOTH if mode & stat.S_IXUSR else 0
        if not path.is_symlink() and (wanted := mode | stat.S_IROTH | runs) != mode:
            path.chmod(wanted)


def _may_enter(path: Path, account: Account) -> bool:
    entries = _read_acl(path)
    if path.stat().st_uid == account.uid:
        return bool(entries[OWNER, NO_ID] & 1)
    if (USER, account.uid) in entries:
        return bool(entries[USER, account.uid] & entries[MASK, NO_ID] & 1)
    group = path.stat().st_gid == account.gid
    return bool(entries[(GROUP if group else OTHER), NO_ID] & 1)


def _entering(entries: Entries, account: Account) -> Entries:
    """The same list, in which the account may also pass."""
    mask = entries.get((MASK, NO_ID), entries[GROUP, NO_ID])
    return {**entries, (USER, account.uid): 1, (MASK, NO_ID): mask | 1}


def _read_acl(path: Path) -> Entries:
    """The list of a directory; one made from its mode where it has none."""
    try:
        packed = os.getxattr(path, ACL)
    except (OSError, AttributeError):  # none, or a system that knows none
        mode = path.stat().st_mode
        return {
            (OWNER, NO_ID): mode >> 6 & 7,
            (GROUP, NO_ID): mode >> 3 & 7,
            (OTHER, NO_ID): mode & 7,
        }
    entries = ACL_ENTRY.iter_unpack(packed[len(ACL_VERSION) :])
    return {(tag, identity): permissions for tag, permissions, identity in entries}


def _write_acl(path: Path, entries: Entries) -> None:
    if not hasattr(os, "setxattr"):
        raise OSError(errno.ENOTSUP, "no access control lists here")
    packed = (ACL_ENTRY.pack(tag, entries[tag, who], who) for tag, who in sorted(entries))
    os.setxattr(path, ACL, ACL_VERSION + b"".join(packed))
