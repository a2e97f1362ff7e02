"""What a piece of work opens, imports, runs and takes of memory."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Running code, starting processes, reaching for the network, unpickling by name.
FORBIDDEN = {
    *("exec", "compile", "import", "pickle.find_class", "marshal.loads", "code.__new__", "ctypes.dlopen"),
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen"),
    *("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request"),
}
# A hook cannot be taken away again, so there is one, which reports to whoever watches.
_watchers: list[Watch] = []


class Watch:
    """Records what happens against the rules while it is at work.

    Args:
        folders: files below may be opened; `/dev/urandom`, `/dev/null` and `/proc` as well.
    """

    def __init__(self, folders: list[Path]) -> None:
        self.folders = [str(folder) for folder in folders]
        self.events: list[str] = []

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((*self.folders, "/dev/", "/proc/")):
                self.events.append(f"open {path}")
        elif event in FORBIDDEN:
            self.events.append(f"{event} {str(arguments[:1])[:200]}")


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watchers and (event == "open" or event in FORBIDDEN):
        _watchers[-1].see(event, arguments)


sys.addaudithook(_hook)


@contextmanager
def watched(*folders: Path) -> Iterator[Watch]:
    """Watch what is done in the block."""
    watch = Watch([folder.resolve() for folder in folders])
    _watchers.append(watch)
    try:
        yield watch
    finally:
        _watchers.remove(watch)


def resident_mb() -> float:
    """Memory that this process holds now, in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def peak_mb() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_files() -> int:
    """Number of file handles that this process holds."""
    return len(os.listdir("/proc/self/fd"))
