"""From rows to a report: sections by protocol, and for every data set the figures and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import AlmPromptError
from ..contestant import label_key
from ..protocols import read_recipe, recipe_names
from ..published import ACCURACIES, PublishedTable, find_published
from ..rows import shots_in_words
from .comparison import compare
from .figures import figures_of
from .layout import comparison_table, failure_table, overview
from .settings import UNKNOWN, has_fewer, is_trained, settings_of
from .summaries import OWN, Row, dataset_of, model_of, protocol_of, summarise, track_of, whole_seeds
from .table import Report, Section, Table

REFERENCE = "zero-shot"

HOW_TO_READ = (
    "Figures are accuracies in percent: mean over folds, then over data sets, then over seeds; ± is the sample "
    "deviation (n - 1) over seeds. learned: trained numbers. s/run: seconds of one run.",
    "Audio: of a clip that is longer than the model takes, the centre, in training and in tests; published loaders "
    "draw the place at random.",
    "base, novel: clips told apart among their own half of the classes (separate form, as published). (g): among all "
    "classes (generalised form). novel to base: share of novel clips given to a base class; lower is better.",
    "mean of H: harmonic mean of base and novel of every run, then the mean. H of means: harmonic mean of the mean "
    "base and the mean novel accuracy. The second is never the smaller one.",
    "95 % interval: percentile bootstrap; runs (data set, fold, seed) are drawn with replacement 2000 times. It tells "
    "how far the mean depends on these runs, not how it would be on other sounds.",
    "against: points by which a method is ▲ better or ▼ worse than the reference method; = where they round to 0.0.",
    "p: paired sign-flip test, two-sided, over the runs that both methods made; pairs is their number, and p is never "
    "below 2 / 2^pairs. Seeds share test clips, so p is rather too small; many comparisons make small ones likely.",
    "published: the paper's figure; published difference: points above or below the paper's figure of the reference "
    "method. Compare differences, and only inside one track: classes, folds, seeds and recipes of two tracks differ.",
)


def build_report(rows: Sequence[Row], title: str, reference: str | None = None) -> Report:
    """Make a report of rows.

    Args:
        rows: rows of one or several benchmarks. A row with an `error` in place of figures is a failed run.
        title: heading of the page.
        reference: label of the method that all others are compared with; by default "zero-shot", or in a section
            where it was not run, the first line of its protocol.

    Raises:
        AlmPromptError: no rows, an unknown reference method, or one that was run in another track.
    """
    failed = [row for row in rows if row.get("error")]
    done = [row for row in rows if not row.get("error")]
    if not done and not failed:
        raise AlmPromptError("no benchmark rows to report; run the benchmark first")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in done:
        groups.setdefault((track_of(row), protocol_of(row), row["shots"], model_of(row)), []).append(row)
    if reference is not None:
        _check_reference(groups, reference)
    one_model = len({model for *_, model in groups}) == 1
    sections = [
        _section(
            track, protocol, shots, None if one_model else model or UNKNOWN, own, reference or _usual(own, protocol)
        )
        for (track, protocol, shots, model), own in groups.items()
    ]
    if failed:
        sections.append(Section("Failed runs", (failure_table(failed),)))
    return Report(title, tuple(sections), HOW_TO_READ)


def _usual(rows: Sequence[Row], protocol: str) -> str:
    """The reference where none is asked for. Protocols that compare ways of zero-shot begin with the plain one."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    if REFERENCE in methods or len(methods) == 1:
        return REFERENCE
    # Not the first row: which one that is among several processes is chance.
    lines = [line.label for line in read_recipe(protocol).methods] if protocol in recipe_names() else []
    return next((label for label in lines if label in methods), methods[0])


def _check_reference(groups: dict[tuple[Any, ...], list[Row]], reference: str) -> None:
    """Every track must have runs of the reference method: there is no difference over two tracks."""
    methods: dict[str, set[str]] = {}
    for (track, *_), rows in groups.items():
        methods.setdefault(track, set()).update(row["method"] for row in rows)
    having = [track for track, labels in methods.items() if reference in labels]
    if not having:
        labels = ", ".join(sorted(set().union(*methods.values())))
        raise AlmPromptError(f"no runs of the reference method {reference!r}; choose one of {labels}")
    for track in methods:
        if track not in having:
            raise AlmPromptError(
                f"no difference over two tracks: the reference method {reference!r} was run in track "
                f"{having[0]}, not in track {track}; report their folders apart"
            )


def _section(track: str, protocol: str, shots: int, model: str | None, rows: list[Row], reference: str) -> Section:
    published = find_published(track, protocol)
    scopes = {dataset: [row for row in rows if dataset_of(row) == dataset] for dataset in map(dataset_of, rows)}
    if len(scopes) > 1:
        scopes = {f"Mean of {len(scopes)} data sets": rows} | scopes
    tables = [table for name, own in scopes.items() for table in _scope(name, own, reference, published, shots)]
    which = f"track {track}" if model is None else f"track {track}, model {model}"
    named = [] if protocol == OWN else [protocol]
    if any(map(is_trained, rows)):
        named.append(f"{'up to ' if any(map(has_fewer, rows)) else ''}{shots_in_words(shots)} per class")
    return Section(f"{', '.join(named) or 'Nothing trained'} ({which})", tuple(tables))


def _scope(
    name: str | None, rows: list[Row], reference: str, published: Sequence[PublishedTable], shots: int
) -> Iterator[Table]:
    """The two tables of one data set, or of the mean over several."""
    whole, incomplete = whole_seeds(rows)
    notes = [f"Left out because incomplete: {'; '.join(incomplete)}."] if incomplete else []
    if not whole:
        yield overview([], _titled(name, "all methods"), notes)
        return
    settings = settings_of(whole)
    yield overview(summarise(whole), _titled(name, "all methods"), notes, settings)
    printed, origin = _published_rows(whole, published, shots)
    if reference in {row["method"] for row in whole}:
        title = f"compared with {reference}"
        settings = settings | {"reference": reference}
    else:
        title = "intervals"
        notes = [*notes, f"No complete runs of {reference} here, so no differences."]
    yield comparison_table(
        compare(whole, reference, printed), reference, _titled(name, title), [*notes, *origin], settings
    )


def _titled(name: str | None, title: str) -> str:
    return f"{title[0].upper()}{title[1:]}" if name is None else f"{name}: {title}"


def _published_rows(rows: Sequence[Row], tables: Sequence[PublishedTable], shots: int) -> tuple[list[Row], list[str]]:
    """What was published for these methods: on the same data sets, or else the mean over those of the paper.

    Where two tables have a figure of a method, the first counts. A note for each table says where it stands.
    """
    ours = {dataset_of(row) for row in rows}
    methods = {label_key(row["method"]) for row in rows}
    taken: set[tuple[str, str]] = set()
    printed: list[Row] = []
    notes = []
    for table in tables:
        found = []
        for row in table.rows:
            method = label_key(row["method"])
            left = {key: value for key, value in row.items() if (method, key) not in taken}
            if row["shots"] in (shots, None) and method in methods and figures_of([left]):
                found.append(left)
        if not found:
            continue
        taken |= {(label_key(row["method"]), key) for row in found for key in ACCURACIES if key in row}
        theirs = {dataset_of(row) for row in found} - {None}
        if ours <= theirs:
            printed += [row for row in found if dataset_of(row) in ours]
            notes.append(f"Published: {table.citation}.")
        else:
            printed += found
            mean = f", mean of {len(theirs)} data sets" if theirs else ""
            notes.append(f"Published: {table.citation}{mean}; not only the data above, so compare differences only.")
    return printed, notes
