"""How the benchmarks of this folder take time and memory, and what they note beside them."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from alm_prompt.versions import installed_versions

# Sizes `[m, k] x [k, n]` of which the fastest counts as the peak: a square one and two of a text tower's MLP.
MATRIX_SIZES = ((2048, 2048, 2048), (1024, 512, 2048), (1024, 2048, 512))
COPIED_BYTES = 2**28


def machine() -> dict[str, object]:
    """What times depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if torch.cuda.is_available() else {}
    return {"cpu": model, "cores": os.cpu_count()} | gpu


def save(path: Path, command: str, figures: Mapping[str, Any], **noted: Any) -> None:
    """Write figures with the command that gives them, the machine and the versions, and print them."""
    record = {"command": command, "threads": torch.get_num_threads(), **noted}
    record |= {"machine": machine(), "versions": installed_versions(), "figures": figures}
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({path.stem: figures}, indent=2), flush=True)


class Others:
    """How much of the machine's processors others have used since this was made."""

    def __init__(self) -> None:
        self.start = self._now()

    def share(self) -> float:
        """Between 0 and 1."""
        busy, own, wall = (now - then for now, then in zip(self._now(), self.start, strict=True))
        return max(busy - own, 0.0) / (wall * os.cpu_count())

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds that all processors, and this process with its children, have worked; and the time."""
        user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
        own = os.times()
        busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        return busy, own.user + own.system + own.children_user + own.children_system, time.perf_counter()


def seconds_in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: Mapping[str, int], device: str = "cpu"
) -> dict[str, list[float]]:
    """Times of several ways, taken in turns, so that a change of the machine's pace meets all of them.

    Args:
        ways: functions by name.
        repeats: how often each is timed; one call before that is not, unless it is timed less than five times.
        device: where they compute.
    """
    for name, way in ways.items():
        if repeats[name] >= 5:
            way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(repeats.values())):
        for name, way in ways.items():
            if turn < repeats[name]:
                times[name].append(seconds_of(way, device))
    return times


def seconds_of(way: Callable[[], object], device: str = "cpu") -> float:
    """Time of one call: on a GPU until it has done all that it was given, by its own clock; else wall time."""
    if device == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        way()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def matrix_peak(
    repeats: int = 11,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    sizes: Sequence[tuple[int, int, int]] | None = None,
) -> float:
    """Floating-point operations per second of the fastest matrix product, as the median of its repeats."""
    rates = []
    for m, k, n in sizes or MATRIX_SIZES:
        left, right = (torch.randn(shape, device=device, dtype=dtype) for shape in ((m, k), (k, n)))
        times = seconds_in_turns({"product": lambda a=left, b=right: a @ b}, {"product": repeats}, device)["product"]
        rates.append(2 * m * k * n / statistics.median(times))
    return max(rates)


def copy_rate(repeats: int = 5) -> float:
    """Bytes read per second in copying a tensor that no cache holds, as the median of its repeats."""
    source = torch.zeros(COPIED_BYTES // 4)
    target = torch.empty_like(source)
    times = seconds_in_turns({"copy": lambda: target.copy_(source)}, {"copy": repeats})["copy"]
    return source.nbytes / statistics.median(times)


def matrix_flops(way: Callable[[], object]) -> int:
    """Floating-point operations in the matrix products of a call; torch counts attention on a GPU, not on the CPU."""
    with FlopCounterMode(display=False) as counter:
        way()
    return counter.get_total_flops()


def memory_of(way: Callable[[], object]) -> int:
    """Bytes that a call takes beyond what the process holds before it, at its peak.

    Only right for the first call that takes much: the peak is that of the process since its start.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    way()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - pages * resource.getpagesize()


KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product",),
    "activation": ("aten::gelu", "aten::sigmoid", "aten::mul"),
    "layer norm": ("aten::native_layer_norm",),
    "sums and copies": ("aten::add", "aten::copy_", "aten::cat", "aten::index", "aten::fill_", "aten::zero_"),
}


def time_by_kind(way: Callable[[], object]) -> dict[str, float]:
    """Shares of the kinds of operations in the time of a call."""
    way()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profiler:
        way()
    times = dict.fromkeys([*KINDS, "rest"], 0.0)
    for event in profiler.key_averages():
        kind = next((kind for kind, starts in KINDS.items() if event.key.startswith(starts)), "rest")
        times[kind] += event.self_cpu_time_total
    return {kind: spent / sum(times.values()) for kind, spent in times.items()}
