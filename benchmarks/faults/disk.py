"""A disk that is full at any point of a write, or read-only: one line, and what was there before is whole.

The commands write into a tmpfs of a few MiB of their own, mounted in a name space of its own, for which no rights are
needed where the system allows user name spaces.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alm_prompt.cli.main import main
from alm_prompt.data.world import write_world
from alm_prompt.loading import load_adapter

# Free bytes before a write: from nothing to enough for all but the last file.
FREE = (0, 4_096, 12_288, 20_480, 40_960, 65_536, 131_072, 262_144, 524_288)
SIZE = 8 * 2**20
CLASSES = ["bird song", "hand drum", "ocean waves"]
QUICK = ["--shots", "1", "--epochs", "1", "--no-cache"]
ENTER = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    """Whether this system lets a process mount a tmpfs of its own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ENTER, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def attack(root: Path, free: tuple[int, ...] = FREE) -> dict[str, Any]:
    """Repeat every command that writes while the disk is full or read-only; to be run in a name space of its own.

    Args:
        root: an empty folder.
        free: free bytes before a write.

    Returns:
        How many writes succeeded and were refused, and lists of what must not be: `crashes` and `lost` (what was
        there before does not load).
    """
    disk, sounds = root / "disk", root / "sounds"
    disk.mkdir()
    write_world(sounds, per_class=3)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)], check=True)
    data = ["--data", str(sounds), "--classes", *CLASSES]
    benchmark = ["evaluate", "--base-to-novel", *data, "--methods", "zero-shot", "coop", "--seeds", "0", *QUICK]
    adapter = disk / "run" / "adapter"
    # What a command writes, and whether what it wrote before is still good. Each is run once with room.
    commands: dict[str, tuple[list[str], Callable[[], Any]]] = {
        "train": (["train", *data, *QUICK, "--output-dir", str(disk / "run")], lambda: load_adapter(adapter)),
        "evaluate": (
            ["evaluate", "--adapter", str(adapter), *data, "--no-cache", "--output-dir", str(disk / "scores")],
            lambda: (disk / "scores" / "results.json").read_text().index("accuracy"),
        ),
        "benchmark": ([*benchmark, "--output-dir", str(disk / "benchmark")], lambda: None),
        "export": (["export", str(adapter), str(disk / "export")], lambda: None),
        "cache": (["evaluate", "--adapter", str(adapter), *data, "--cache-dir", str(disk / "cache")], lambda: None),
    }
    result: dict[str, Any] = {"refused": 0, "done": 0, "crashes": [], "lost": []}
    _command(commands["train"][0])
    _command(commands["evaluate"][0])
    for name, (arguments, still_good) in commands.items():
        for room in (*free, None):
            _attempt(name, arguments, disk, room, result)
            try:
                still_good()
                load_adapter(adapter)
            except Exception as error:
                result["lost"].append(f"{name}, {room} bytes free: {type(error).__name__}: {str(error)[:200]}")
    subprocess.run(["umount", str(disk)], check=False)
    return result


def _attempt(name: str, arguments: list[str], disk: Path, room: int | None, result: dict[str, Any]) -> None:
    """Run a command again with so many bytes free; `None`: on a disk that is read-only."""
    again = [*arguments, "--overwrite"] if name in ("evaluate", "benchmark") else arguments
    if name == "train":  # A second run beside the first, whose adapter must live.
        again = [part if part != str(disk / "run") else str(disk / "second") for part in arguments]
    for folder in ("second", "export", "cache"):
        shutil.rmtree(disk / folder, ignore_errors=True)
    filler = disk / "filler"
    try:
        if room is None:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        else:
            status = os.statvfs(disk)
            filler.write_bytes(bytes(max(status.f_bavail * status.f_frsize - room, 0)))
        code, line = _command(again)
        result["refused" if code else "done"] += 1
        if code and (code != 2 or len(line.strip().splitlines()) != 1):
            result["crashes"].append(f"{name}, {room} bytes free: exit {code}: {line[-300:]!r}")
    except Exception as error:
        result["crashes"].append(f"{name}, {room} bytes free: {type(error).__name__}: {str(error)[:200]}")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        filler.unlink(missing_ok=True)


def _command(arguments: list[str]) -> tuple[int, str]:
    """Exit code, and what standard error says from the error on."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    # A progress bar may stand before it on its line.
    return code, errors.getvalue().partition("error: ")[2]
