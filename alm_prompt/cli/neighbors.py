"""`alm-prompt neighbors`: acoustic neighbours for your own classes, from a chat model or from a file."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from ..files import write_whole
from .options import TextOptions
from .parser import CommandParser
from .writing_options import NeighborOptions

if TYPE_CHECKING:
    from ..models import AlmForAudioClassification
    from ..prompts import ClassNeighbors

DESCRIPTION = (
    "Make acoustic neighbours for your classes, which SEPT trains with: ask a chat model for them, or check those of "
    "a file. Prints and keeps how close they are to their classes for --model. Repeat a run that was ended, and it "
    "goes on."
)
# What the header of a shipped file says about where its text is from.
PROVENANCE = ("written_by", "date", "instruction", "licence")
NOT_STATED = "not stated"
TOKENS_PER_TERM = 32
FIGURES = ("own", "others", "diversity")


def run(argv: list[str]) -> None:
    """Make the neighbours, write them with where they are from, and print their figures."""
    options, model, _ = CommandParser("neighbors", DESCRIPTION, [NeighborOptions, TextOptions]).parse(argv)
    from ..prompts import check_request
    from .loading import TINY, open_model
    from .run_folder import check_output_file

    check_request(options.classes, options.held_out or [], options.per_class, options.retries)
    output = check_output_file(options.output, "neighbors.json", overwrite=options.overwrite)
    header, found = _begun(options, _partial(output)) if options.from_file is None else _from_file(options)
    # Opened before anything is asked: a model that cannot be opened is found out at once.
    alm, _ = open_model(model.model or TINY)
    alm.set_classes(options.classes, template=model.template)
    if len(found) < len(options.classes):
        found = _ask(options, output, header, found)
    quality = _quality(alm, found)
    # What was asked for stays in the partial file until it becomes the output: at no time is it lost or there twice.
    written = output if options.from_file is not None else _partial(output)
    _write(written, _document(output, header, found, quality))
    os.replace(written, output)
    print(f"\n{_table(found, quality)}\nwritten to {output}")


def _from_file(options: NeighborOptions) -> tuple[dict[str, Any], dict[str, ClassNeighbors]]:
    from ..prompts import filter_neighbors, read_neighbors

    path = Path(options.from_file)
    found = filter_neighbors(read_neighbors(path), options.classes, options.held_out or [], options.per_class)
    content = path.read_bytes()
    stated = json.loads(content)
    header = {name: stated[name] if isinstance(stated.get(name), str) else NOT_STATED for name in PROVENANCE}
    source = {"from_file": path.name, "sha256": hashlib.sha256(content).hexdigest()}
    return {**header, "settings": source | _asked_for(options)}, found


def _begun(options: NeighborOptions, partial: Path) -> tuple[dict[str, Any], dict[str, ClassNeighbors]]:
    """Header for what a chat model is asked, and the classes that an earlier run with the same header has finished."""
    from ..prompts.dialogue import INSTRUCTION
    from .chat_model import TEMPERATURE, revision_of

    revision = revision_of(options.llm)
    model = options.llm if revision is None else f"{options.llm} at revision {revision}"
    source = {"llm": options.llm, "revision": revision, "temperature": TEMPERATURE, "seed": options.seed}
    header = {
        "written_by": f"{model}, a large language model",
        "date": datetime.date.today().isoformat(),
        "instruction": INSTRUCTION,
        "licence": NOT_STATED,
        "settings": source | _asked_for(options),
    }
    if not partial.exists():
        return header, {}
    found = _read_progress(partial, header)
    print(f"going on with {partial}: {len(found)} of {len(options.classes)} classes are there", flush=True)
    return header, {name: found[name] for name in options.classes if name in found}


def _read_progress(partial: Path, header: Mapping[str, Any]) -> dict[str, ClassNeighbors]:
    from ..prompts import ClassNeighbors, checked_neighbors, read_neighbors

    terms = read_neighbors(partial)
    begun = json.loads(partial.read_text(encoding="utf-8"))
    try:
        earlier = {"instruction": begun["instruction"], **begun["settings"]}
        found = {name: ClassNeighbors(terms[name], **begun["answers"][name]) for name in terms}
    except (KeyError, TypeError) as error:
        raise AlmPromptError(f"{partial} holds no progress of this command; delete it or move it away") from error
    for name, value in {"instruction": header["instruction"], **header["settings"]}.items():
        if earlier.get(name) != value:
            raise AlmPromptError(
                f"{partial} was begun with another {name}; repeat its flags, delete it, or choose another --output"
            )
    checked_neighbors(terms, list(terms), header["settings"]["held_out"], header["settings"]["per_class"])
    return found


def _ask(
    options: NeighborOptions, output: Path, header: Mapping[str, Any], found: Mapping[str, ClassNeighbors]
) -> dict[str, ClassNeighbors]:
    """Ask the chat model for the classes that are missing; each is kept on disk as soon as it is there."""
    from ..prompts import generate_neighbors
    from .chat_model import ChatModel

    longest = TOKENS_PER_TERM * (options.per_class + 2)
    chat = ChatModel(options.llm, header["settings"]["revision"], options.seed, longest)
    print(f"asking {options.llm}; what is there is kept in {_partial(output)}", flush=True)

    def keep(name: str, found: Mapping[str, ClassNeighbors]) -> None:
        _write(_partial(output), _document(output, header, found))
        print(f"{name}: {found[name].retries} retries, {len(found[name].dropped)} overlaps dropped", flush=True)

    return generate_neighbors(
        options.classes,
        chat,
        per_class=options.per_class,
        held_out=options.held_out or [],
        retries=options.retries,
        found=found,
        on_class=keep,
    )


def _asked_for(options: NeighborOptions) -> dict[str, Any]:
    return {
        "class_names": options.classes,
        "held_out": options.held_out or [],
        "per_class": options.per_class,
    }


def _partial(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")


def _quality(alm: AlmForAudioClassification, found: Mapping[str, ClassNeighbors]) -> dict[str, Any]:
    """Figures of the neighbours for a model, by class and over all."""
    from ..prompts import neighbor_quality

    bank = alm.class_bank
    terms = bank.with_names([term for item in found.values() for term in item.terms])
    quality = neighbor_quality(
        bank.zero_shot_embeds(alm.alm), terms.zero_shot_embeds(alm.alm).unflatten(0, (len(found), -1))
    )
    figures = {figure: [round(value, 4) for value in getattr(quality, figure).tolist()] for figure in FIGURES}
    dropped = sum(len(item.dropped) for item in found.values())
    return {
        "model": alm.name_or_path,
        "template": bank.template,
        "overlap_rate": round(dropped / (dropped + len(terms)), 4),
        "mean": {figure: round(sum(values) / len(values), 4) for figure, values in figures.items()},
        "classes": {
            name: {figure: values[position] for figure, values in figures.items()}
            for position, name in enumerate(found)
        },
    }


def _document(
    output: Path,
    header: Mapping[str, Any],
    found: Mapping[str, ClassNeighbors],
    quality: Mapping[str, Any] | None = None,
) -> str:
    """The file: a header as in the shipped ones, how every class was answered, its figures, and the terms."""
    from ..versions import installed_versions

    content = {
        "set": output.stem,
        **header,
        "versions": installed_versions(),
        "answers": {name: {"retries": item.retries, "dropped": item.dropped} for name, item in found.items()},
        "quality": quality,
        "classes": {name: item.terms for name, item in found.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def _table(found: Mapping[str, ClassNeighbors], quality: Mapping[str, Any]) -> str:
    """Figures of every class and their means, in columns."""
    rows = [["class", *FIGURES, "dropped", "retries"]]
    for name, figures in quality["classes"].items():
        counts = [str(len(found[name].dropped)), str(found[name].retries)]
        rows.append([name, *(f"{figures[figure]:.2f}" for figure in FIGURES), *counts])
    rows.append(["mean", *(f"{quality['mean'][figure]:.2f}" for figure in FIGURES), "", ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    rate = f"{100 * quality['overlap_rate']:.1f} % of the terms named a held-out class"
    return "\n".join([*lines, f"cosines for {quality['model']}; {rate}"])
