"""What prompt learning costs here, and what it costs the published way, on towers of Pengi's size on the CPU.

    OMP_NUM_THREADS=2 python benchmarks/cost.py --output benchmarks/results/cost
    OMP_NUM_THREADS=2 python benchmarks/cost.py --output benchmarks/results/cost --only coop sept

One JSON file per measurement; those that are there already are left alone, unless `--only` asks for them. The weights
are random; names and neighbours have as many tokens as CLIP's tokenizer gives those of ESC-50. "ours" is a training
step of `alm_prompt` from audio features that are at hand, "padded 77" and "padded 40" are the same step by
`published_way.py`, both forward and backward. Ways are timed in turns within one run, their ratio is that of the
medians. The slowest published ways are timed less than five times; `repeats` says how often.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from both_ways import Bench, Setting, pengi
from measuring import (
    Others,
    copy_rate,
    matrix_flops,
    matrix_peak,
    memory_of,
    save,
    seconds_in_turns,
    seconds_of,
    time_by_kind,
)

from alm_prompt import AlmProcessor, AlmTrainer, AlmTrainingArguments
from alm_prompt.data import AlmCollator, AudioClips, Clip, FeatureDataset
from alm_prompt.models import AlmFeatureExtractor, AlmModel
from alm_prompt.training import AudioFeatureCache

RUN_CLIPS, EPOCHS = 400, 50
# Epochs of ours that are run; the time of the others follows from theirs.
EPOCHS_RUN = {"coop": 10, "cocoop": 1, "palm": EPOCHS}
PROJECTIONS, EVERYTHING = "projections", "everything"
# Options of `torch.compile`: its own defaults, as with `AlmTrainingArguments(torch_compile=True)`.
COMPILER: Mapping[str, Any] = {}


def compare(ways: Mapping[str, Callable[[], Any]], repeats: Mapping[str, int]) -> dict[str, Any]:
    """Median seconds of every way, and how many times as long as ours it takes."""
    times = seconds_in_turns(ways, repeats)
    seconds = {name: statistics.median(found) for name, found in times.items()}
    ratios = {f"{name} / ours": found / seconds["ours"] for name, found in seconds.items() if name != "ours"}
    return {"seconds": seconds, "ratios": ratios, "repeats": dict(repeats)}


def step_cost(setting: Setting, method: str) -> dict[str, Any]:
    """Measure a training step in both ways, and how much of the machine ours uses."""
    bench, (often, seldom) = Bench(setting, setting.classes), setting.repeats
    ways, repeats = {"ours": bench.ours(method)}, {"ours": often}
    for length in setting.lengths:
        ways[f"padded {length}"] = bench.published(method, length)
        repeats[f"padded {length}"] = often if method == "coop" else seldom
    if method == "sept":
        ways["CoOp padded"] = bench.published("coop", setting.lengths[0])
        repeats["CoOp padded"] = often
    losses: dict[str, float] = {}

    def noting_the_loss(name: str) -> Callable[[], None]:
        return lambda: losses.update({name: float(ways[name]())})

    found = compare({name: noting_the_loss(name) for name in ways}, repeats)
    flops, peak = matrix_flops(ways["ours"]), matrix_peak()
    share = flops / found["seconds"]["ours"] / peak
    return found | {"losses": losses, "matrix_flops": flops, "matrix_peak": peak, "share_of_peak": share}


def palm_work(setting: Setting) -> dict[str, Any]:
    """Count how often the towers are at work in the steps of PALM."""
    bench = Bench(setting, setting.classes)
    model = bench.adapted("palm")
    calls = dict.fromkeys(("text_tower", "audio_tower"), 0)
    for name in calls:
        tower = getattr(model.get_base_model().alm, name)
        tower.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    by_step = []
    for _ in range(5):
        before = dict(calls)
        model(audio_features=bench.audio, labels=bench.labels).loss.backward()
        by_step.append({name: calls[name] - before[name] for name in calls})
    return {"calls_in_step": by_step}


def whole_run(
    setting: Setting, methods: tuple[str, ...], clips: int, ways: Sequence[tuple[int, str]]
) -> dict[str, Any]:
    """Measure 50 epochs over 400 clips in both ways; the published way from five steps.

    Args:
        setting: sizes of everything.
        methods: which methods.
        clips: how many of the 400 clips are encoded; the time of the others follows from theirs.
        ways: of the published way, what prompts are padded to (index of a length) and what is unfrozen.
    """
    bench, steps = Bench(setting, setting.classes), EPOCHS * RUN_CLIPS // setting.batch
    processor = AlmProcessor(AlmFeatureExtractor(**setting.front_end), bench.tokenizer)
    found: dict[str, Any] = {"steps": steps, "encoded_clips": clips}
    with tempfile.TemporaryDirectory() as folder:
        recordings = write_recordings(Path(folder), max(clips, setting.batch), processor)
        cold, warm, features = audio_passes(bench, processor, recordings[:clips], Path(folder))
        dataset = FeatureDataset(
            features.repeat(RUN_CLIPS // clips, 1), (torch.arange(RUN_CLIPS) % setting.classes).tolist()
        )
        batch = [clip.source for clip in recordings[: setting.batch]]

        def encode(alm: AlmModel) -> torch.Tensor:
            return alm.get_audio_features(**processor(audio=batch))

        for method in methods:
            run_steps = steps * EPOCHS_RUN[method] // EPOCHS
            ours = training_seconds(bench.adapted(method), dataset, run_steps) * steps / run_steps
            found[method] = {"ours": ours, "ours_steps_run": run_steps}
            for index, unfrozen in ways:
                length = setting.lengths[index]
                step = bench.published(method, length, encode, unfrozen)
                seconds = statistics.median(seconds_in_turns({"": step}, {"": setting.repeats[0]})[""])
                found[method][f"padded {length}, {unfrozen} unfrozen"] = {
                    "seconds_of_a_step": seconds,
                    "seconds": seconds * steps,
                    "against ours, warm": seconds * steps / (ours + warm),
                    "against ours, cold": seconds * steps / (ours + cold),
                }
    return found | {"cold_pass_seconds": cold, "warm_pass_seconds": warm}


def write_recordings(folder: Path, clips: int, processor: AlmProcessor) -> AudioClips:
    """Noise in WAV files of the length that the audio tower reads."""
    front_end = processor.feature_extractor
    for index in range(clips):
        noise = torch.randn(round(front_end.sampling_rate * front_end.clip_seconds)) * 0.1
        soundfile.write(folder / f"{index}.wav", noise.numpy(), front_end.sampling_rate)
    return AudioClips([Clip(str(folder / f"{index}.wav"), "noise", str(index)) for index in range(clips)])


def audio_passes(
    bench: Bench, processor: AlmProcessor, clips: AudioClips, folder: Path
) -> tuple[float, float, torch.Tensor]:
    """Seconds that 400 clips take through an empty and through a full cache, and the features of those given."""
    cache, found = AudioFeatureCache(folder / "cache"), []

    def read() -> None:
        found.append(cache.features(bench.zero_shot, processor, clips, progress=False))

    cold, warm = seconds_of(read), seconds_of(read)
    return cold * RUN_CLIPS / len(clips), warm * RUN_CLIPS / len(clips), found[-1]


def training_seconds(model: torch.nn.Module, dataset: FeatureDataset, steps: int) -> float:
    """Seconds that the trainer takes, from its making to its end; it writes and prints nothing."""
    with tempfile.TemporaryDirectory() as folder:
        silent = {
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }
        args = AlmTrainingArguments(output_dir=folder, max_steps=steps, **silent)
        return seconds_of(
            lambda: AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator()).train()
        )


def first_pass(setting: Setting) -> dict[str, Any]:
    """Measure the first pass over clips, with and without a process that reads them, and its parts alone."""
    bench, clips = Bench(setting, setting.classes), 4 * setting.batch
    processor = AlmProcessor(AlmFeatureExtractor(**setting.front_end), bench.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        recordings = write_recordings(Path(folder), clips, processor)
        read = [processor(audio=clip.source) for clip in recordings]

        def encode() -> None:
            with torch.inference_mode():
                for inputs in read:
                    bench.zero_shot.get_audio_features(**inputs)

        def whole(workers: int) -> Callable[[], Any]:
            cache = AudioFeatureCache(enabled=False, num_workers=workers)
            return lambda: cache.features(bench.zero_shot, processor, recordings, progress=False)

        ways = {
            "reading alone": lambda: [processor(audio=clip.source) for clip in recordings],
            "tower alone": encode,
            "no worker": whole(0),
            "one worker": whole(1),
        }
        times = seconds_in_turns(ways, dict.fromkeys(ways, setting.repeats[0]))
    return {"clips": clips, "seconds": {name: statistics.median(found) for name, found in times.items()}}


def inference(setting: Setting) -> dict[str, Any]:
    """Measure one clip among 50 classes with CoOp, against the audio tower alone."""
    bench = Bench(setting, 2 * setting.classes)
    processor = AlmProcessor(AlmFeatureExtractor(**setting.front_end), bench.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        inputs = processor(audio=[clip.source for clip in write_recordings(Path(folder), 1, processor)])
    model = bench.adapted("coop").eval()
    ways = {"audio tower": lambda: model.get_audio_features(**inputs), "ours": lambda: model(**inputs)}
    with torch.inference_mode():
        found = compare(ways, dict.fromkeys(ways, 5 * setting.repeats[0]))
    return found | {"beyond_the_audio_tower": 1 / found["ratios"]["audio tower / ours"] - 1}


def growth(setting: Setting) -> dict[str, Any]:
    """Measure a step of CoOp with more and more classes."""
    seconds = {}
    for classes in setting.growth:
        ways = {"ours": Bench(setting, classes).ours("coop")}
        seconds[classes] = compare(ways, {"ours": setting.repeats[0]})["seconds"]["ours"]
    fewest = setting.growth[0]
    against = {classes: found / seconds[fewest] / (classes / fewest) for classes, found in seconds.items()}
    return {"seconds": seconds, f"per class, against {fewest} classes": against}


def profile(setting: Setting) -> dict[str, Any]:
    """Where the time of a step goes, and the least it could take by its operations and by the bytes of the weights."""
    peak, rate, found = matrix_peak(), copy_rate(), {}
    for method in ("coop", "sept"):
        bench = Bench(setting, setting.classes)
        step = bench.ours(method)
        seconds = compare({"ours": step}, {"ours": setting.repeats[0]})["seconds"]["ours"]
        layers = bench.zero_shot.alm.text_tower.model.encoder.parameters()
        weights = sum(parameter.nbytes for parameter in layers)
        found[method] = {
            "seconds": seconds,
            "share_of_time": time_by_kind(step),
            "floor_seconds_by_operations": matrix_flops(step) / peak,
            # The weights of the layers are read once in the forward and once in the backward pass.
            "floor_seconds_by_bytes": 2 * weights / rate,
        }
    return found | {"matrix_peak": peak, "bytes_read_per_second": rate}


def compiled(setting: Setting) -> dict[str, Any]:
    """Measure a step of CoOp as it is and under `torch.compile`, and its first step, which compiles."""
    bench, often = Bench(setting, setting.classes), 5 * setting.repeats[0]
    ways = {"ours": bench.ours("coop"), "compiled": bench.ours("coop", compiler=COMPILER)}
    first = seconds_of(ways["compiled"])
    return compare(ways, dict.fromkeys(ways, often)) | {"seconds_of_the_first_compiled_step": first}


MEMORY_OF = ("sept-ours", "sept-published", "cocoop-ours", "cocoop-published", "coop-many-ours")


def memory_in_this_process(setting: Setting, what: str) -> int:
    """Bytes that a first step takes beyond model and libraries, at its peak, from audio features that are at hand."""
    method, way = what.split("-")[0], what.split("-")[-1]
    bench = Bench(setting, setting.many_classes if "many" in what else setting.classes)
    step = bench.ours(method) if way == "ours" else bench.published(method, setting.lengths[-1])
    return memory_of(step)


def memory(setting: Setting) -> dict[str, Any]:
    """Measure peak memory, every way in a process of its own, which measures at Pengi's size."""
    found: dict[str, Any] = {}
    for what in MEMORY_OF:
        command = [sys.executable, __file__, "--memory-of", what]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[what] = json.loads(printed.splitlines()[-1])
    for method in ("sept", "cocoop"):
        found[f"{method}: published / ours"] = found[f"{method}-published"] / found[f"{method}-ours"]
    return found


MEASUREMENTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "coop": lambda setting: step_cost(setting, "coop"),
    "sept": lambda setting: step_cost(setting, "sept"),
    "cocoop": lambda setting: step_cost(setting, "cocoop"),
    "palm": palm_work,
    "run": lambda setting: whole_run(
        setting, ("coop", "palm"), RUN_CLIPS, [(1, PROJECTIONS), (0, PROJECTIONS), (1, EVERYTHING)]
    ),
    "run-cocoop": lambda setting: whole_run(setting, ("cocoop",), 16, [(1, PROJECTIONS)]),
    "first-pass": first_pass,
    "inference": inference,
    "growth": growth,
    "profile": profile,
    "compile": compiled,
    "memory": memory,
}


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, help="these, whether they are there or not")
    parser.add_argument("--memory-of", choices=MEMORY_OF, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/cost"), help="folder of the results")
    args = parser.parse_args()
    if args.memory_of:
        print(json.dumps(memory_in_this_process(pengi(), args.memory_of)))
        return
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.only or [name for name in MEASUREMENTS if not (args.output / f"{name}.json").exists()]:
        others = Others()
        found = MEASUREMENTS[name](pengi())
        command = shlex.join(["python", "benchmarks/cost.py", "--only", name])
        save(args.output / f"{name}.json", command, found, cpu_used_by_others=others.share())


if __name__ == "__main__":
    main()
