"""What prompt learning costs on a GPU, here and in the published way, on towers of Pengi's size.

    python benchmarks/cost_gpu.py --dtype fp32 --output benchmarks/results/cost_gpu
    python benchmarks/cost_gpu.py --dtype bf16 --output benchmarks/results/cost_gpu

Each command is meant to take less than ten minutes and writes one JSON file per measurement: the steps that `cost.py`
measures on the CPU, forward and backward from audio features that are at hand: "eager" is ours as it is,
"compiled" ours under `torch.compile` (on a GPU with CUDA graphs), "plain" CoOp with `fast="off"`, "padded 77" and
"padded 40" the published way. fp32 is without TF32, bf16 is autocast. `--device cpu` tries the script out: seconds are
wall time then, and what only a GPU has is null.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from both_ways import Bench, Setting, pengi
from measuring import matrix_flops, matrix_peak, save, seconds_in_turns

DTYPES = {"fp32": None, "bf16": torch.bfloat16}
# "reduce-overhead" stands for CUDA graphs. Every shape gets a graph of its own, as in `AlmTrainingArguments`.
COMPILER: Mapping[str, Any] = {"mode": "reduce-overhead", "dynamic": False}
# A CUDA graph is recorded in the second or third call after the compilation.
WARM_UP = 5
MATRIX_SIZES = ((8192, 8192, 8192), (4096, 512, 2048), (4096, 2048, 512))
COUNTED = {
    "kernels": ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
    "graphs": ("cudaGraphLaunch",),
    "copies": ("cudaMemcpyAsync", "cudaMemcpy"),
    "waits": ("cudaStreamSynchronize", "cudaEventSynchronize"),
}


def gpu_setting() -> Setting:
    """Pengi's size, as often as a GPU allows."""
    return replace(pengi(), repeats=(20, 5), many_classes=10_000)


def step_cost(bench: Bench, method: str) -> dict[str, Any]:
    """Measure a training step of a method in every way."""
    setting, device = bench.setting, bench.device.type
    often, seldom = setting.repeats
    ways = {"eager": bench.ours(method), "compiled": bench.ours(method, compiler=COMPILER)}
    repeats = dict.fromkeys(ways, often)
    if method == "coop":
        ways["plain"], repeats["plain"] = bench.ours(method, fast="off"), often
    for length in setting.lengths:
        ways[f"padded {length}"], repeats[f"padded {length}"] = bench.published(method, length), seldom
    # Losses before anything else: they are those of the first step, whose compiled code has not run before.
    losses = {name: float(way()) for name, way in ways.items()}
    for _ in range(WARM_UP):
        ways["compiled"]()
    times = seconds_in_turns(ways, repeats, device)
    seconds = {name: statistics.median(found) for name, found in times.items()}
    flops = matrix_flops(ways["eager"])
    peak = matrix_peak(device=device, dtype=bench.autocast or torch.float32, sizes=MATRIX_SIZES)
    return {
        "seconds": seconds,
        "ratios": {
            f"{name} / {ours}": seconds[name] / seconds[ours]
            for ours in ("eager", "compiled")
            for name in seconds
            if name != ours
        },
        "repeats": repeats,
        "losses": losses,
        "launches": {name: launches(way, device) for name, way in ways.items()},
        "peak_memory": {name: peak_memory(way, device) for name, way in ways.items()},
        "matrix_flops": flops,
        "matrix_peak": peak,
        "share_of_peak": {name: flops / seconds[name] / peak for name in ("eager", "compiled")},
    }


def many_classes(bench: Bench) -> dict[str, Any]:
    """Measure a step of CoOp with many classes."""
    step, device = bench.ours("coop"), bench.device.type
    memory = peak_memory(step, device)
    often = bench.setting.repeats[1]
    seconds = statistics.median(seconds_in_turns({"eager": step}, {"eager": often}, device)["eager"])
    return {"classes": len(bench.names), "seconds": seconds, "peak_memory": memory}


def launches(way: Callable[[], object], device: str) -> dict[str, int] | None:
    """What a call asks the GPU for and how often it waits; `None` without one."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        way()
    calls = {event.key: event.count for event in profiler.key_averages()}
    return {what: sum(calls.get(name, 0) for name in names) for what, names in COUNTED.items()}


def peak_memory(way: Callable[[], object], device: str) -> int | None:
    """Bytes on the GPU that a call takes at its peak beyond what is there before it; `None` without one.

    Those of a CUDA graph are there before the call and not counted.
    """
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


METHODS = ("coop", "sept", "cocoop", "palm")
MEASUREMENTS = (*METHODS, "many-classes")


def measure(name: str, setting: Setting, device: str, dtype: str) -> dict[str, Any]:
    """Figures of one measurement."""
    if name == "many-classes":
        return many_classes(Bench(setting, setting.many_classes, device, DTYPES[dtype]))
    # Code that was compiled for another method would count among the shapes of this one.
    torch.compiler.reset()
    return step_cost(Bench(setting, setting.classes, device, DTYPES[dtype]), name)


def main() -> None:
    """Measure everything, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=DTYPES, required=True, help="float32, or autocast to bfloat16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where to compute")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=MEASUREMENTS, help="these alone")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/cost_gpu"), help="folder of the results"
    )
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu tries the script out, at the speed of a CPU")
    args.output.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name in args.only:
        figures = measure(name, gpu_setting(), args.device, args.dtype)
        command = f"python benchmarks/cost_gpu.py --dtype {args.dtype} --device {args.device} --only {name}"
        save(args.output / f"{args.dtype}-{name}.json", command, figures, device=args.device, dtype=args.dtype)


if __name__ == "__main__":
    main()
