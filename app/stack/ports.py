"""Ports on this machine: a preferred one, another where it is taken, the same one next time."""

import json
import socket
from pathlib import Path

from app.stack.home import write_atomically

HOST = "127.0.0.1"


def claim(home: Path, name: str, preferred: int) -> int:
    """A free port for `name`: the one it had last, else the preferred, else any.

    Nothing keeps it free: whoever binds it first has it.
    """
    remembered = remembered_ports(home)
    others = {port for other, port in remembered.items() if other != name}
    wanted = (remembered.get(name, preferred), preferred)
    port = next((p for p in wanted if p not in others and is_free(p)), None)
    while port is None or port in others:
        port = _any_free()
    if remembered.get(name) != port:
        write_atomically(home / "ports.json", json.dumps({**remembered, name: port}, indent=2))
    return port


def remembered_ports(home: Path) -> dict[str, int]:
    """The ports of the last start, by name."""
    try:
        return {str(name): int(port) for name, port in json.loads(_file(home).read_text()).items()}
    except FileNotFoundError:
        return {}


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: connections that are still closing do not keep the port from them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _file(home: Path) -> Path:
    return home / "ports.json"
