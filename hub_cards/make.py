"""Adapters of every method on the bundled tiny model, with their cards, and the other cards of this folder.

python hub_cards/make.py

Each method is trained on half of the classes of the sound world with three seeds and measured on both halves. What is
saved is the adapter of the first seed; its card has the figures of all three. Everything is written below hub_cards/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from peft import PeftModel, get_peft_model
from transformers import set_seed

from alm_prompt import AlmProcessor, AudioFeatureCache, harmonic_mean, parse_method, record_results
from alm_prompt.data import AudioClips, FeatureDataset, base_to_novel_split
from alm_prompt.evaluation import accuracy, open_task, predict_features
from alm_prompt.evaluation.run import train_adapter
from alm_prompt.hub import is_repo_id
from alm_prompt.prompts import available_sets, descriptions, neighbors, templates

FOLDER = Path(__file__).resolve().parent
METHODS = (
    "coop",
    "cocoop",
    "kgcoop",
    "palm",
    "linear_probe",
    "coop+dept",
    "coop+sept",
    "coop+zebra",
    "coop+tta",
)
SEEDS = (0, 1, 2)
SHOTS = 16
CLIPS_PER_CLASS = 40
DATASET = "alm_prompt sound world"
LICENSE = "apache-2.0"


def make_adapters(
    folder: Path,
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = SEEDS,
    shots: int = SHOTS,
    clips_per_class: int = CLIPS_PER_CLASS,
    epochs: float | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Train, measure and save an adapter of every method.

    Args:
        folder: where the adapters' folders go.
        methods: stacks of methods.
        seeds: one run each; the adapter of the first one is saved.
        shots: training clips per class.
        clips_per_class: recordings of each class of the sound world.
        epochs: passes over the training clips; default: those of the recipe.
        say: told about every method.
    """
    alm, processor, clips = open_task(clips_per_class=clips_per_class)
    alm.set_classes(clips.class_names)
    cache = AudioFeatureCache()
    for method in methods:
        figures: dict[str, list[float]] = {"base": [], "novel": [], "h": []}
        target = folder / method.replace("+", "-")
        split_hash = base_to_novel_split(clips, shots=shots, seed=seeds[0]).hash
        for seed in seeds:
            split = base_to_novel_split(clips, shots=shots, seed=seed)
            recipe = {"seed": seed} if epochs is None else {"seed": seed, "num_train_epochs": epochs}
            model = _train(alm, processor, cache, split.train, method, recipe)
            if seed == seeds[0]:
                model.active_peft_config.results.license = LICENSE
                model.save_pretrained(target, save_embedding_layers=False)
            base, novel = (
                _accuracy(model, processor, cache, split.test.select(labels=half), half)
                for half in (split.base_classes, split.novel_classes)
            )
            for name, value in zip(figures, (base, novel, harmonic_mean(base, novel)), strict=True):
                figures[name].append(value)
            alm = model.unload()
        how = f"base to novel, {shots} shots, seeds {', '.join(map(str, seeds))}; this is seed {seeds[0]}"
        record_results(target, figures, dataset=DATASET, split=split_hash, protocol=how)
        say(f"{method}: " + ", ".join(f"{name} {sum(v) / len(v):.3f}" for name, v in figures.items()))


def _train(
    alm: Any, processor: AlmProcessor, cache: AudioFeatureCache, train: AudioClips, method: str, recipe: dict[str, Any]
) -> PeftModel:
    names = sorted({clip.label for clip in train})
    alm.set_classes(names)
    set_seed(recipe["seed"])
    model = get_peft_model(alm, parse_method(method))
    train_adapter(model, FeatureDataset(cache.features(alm, processor, train), train.label_ids(names)), recipe)
    return model.eval()


def _accuracy(
    model: PeftModel, processor: AlmProcessor, cache: AudioFeatureCache, clips: AudioClips, names: Sequence[str]
) -> float:
    model.set_classes(list(names))
    return accuracy(predict_features(model, cache.features(model, processor, clips)), clips.label_ids(list(names)))


def backbone_card(report: dict[str, Any], repo_id: str) -> str:
    """Card of a converted backbone, from the `conversion_report.json` beside its weights."""
    facts = json.loads((FOLDER / "backbones.json").read_text(encoding="utf-8"))[report["family"]]
    return _filled("backbone.md", repo_id=repo_id, report=report, **facts)


def text_card(repo_id: str) -> str:
    """Card of the shipped text data as a data set."""
    sets = [
        {"name": name, "classes": len(neighbors(name)), "terms": sum(map(len, neighbors(name).values())),
         "sentences": sum(map(len, descriptions(name).values()))}
        for name in available_sets()
    ]  # fmt: skip
    return _filled("text_data.md", repo_id=repo_id, sets=sets, templates=len(templates()))


def _filled(template: str, repo_id: str, **facts: Any) -> str:
    if not is_repo_id(repo_id):
        raise SystemExit(f"{repo_id!r} is no Hub id of the form user/name")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    text = (FOLDER / "templates" / template).read_text(encoding="utf-8")
    return environment.from_string(text).render(repo_id=repo_id, **facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", metavar="FOLDER", help="write the card of this converted backbone instead")
    parser.add_argument("--text-data", action="store_true", help="print the card of the text data instead")
    parser.add_argument("--repo-id", default="user/name", help="where it will lie on the Hub")
    args = parser.parse_args()
    if args.backbone is not None:
        report = json.loads(Path(args.backbone, "conversion_report.json").read_text(encoding="utf-8"))
        Path(args.backbone, "README.md").write_text(backbone_card(report, args.repo_id), encoding="utf-8")
    elif args.text_data:
        print(text_card(args.repo_id), end="")
    else:
        make_adapters(FOLDER / "adapters")


if __name__ == "__main__":
    main()
