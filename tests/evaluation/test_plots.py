"""What the pictures show is what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmForAudioClassification, AlmPromptError, CoCoOpPromptConfig, CoOpPromptConfig

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plots)")

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alm_prompt.evaluation.plots import (
    ClassTexts,
    accuracy_over_shots,
    base_novel_scatter,
    confusion_matrix,
    embed_texts,
    learned_mixing,
    loss_parts,
    neighbor_similarity,
    neighbor_tsne,
    save_figure,
)

MakeRow = Callable[..., dict[str, Any]]

NEIGHBORS = {"dog": ["cat", "chain saw"], "rain": ["a sound", "the sound"]}


@pytest.fixture(autouse=True)
def unchanged_settings() -> Iterator[None]:
    """A figure leaves the settings of matplotlib as they are."""
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def texts(classes: int, terms: int = 3, seed: int = 0) -> ClassTexts:
    """Random unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((classes, terms + 1, 6))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return ClassTexts([f"class_{number}" for number in range(classes)], vectors[:, 0], list(vectors[:, 1:]))


def marks(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """Points of every line of a legend."""
    handles, labels = axes.get_legend_handles_labels()
    lines = [getattr(handle, "lines", [handle])[0] for handle in handles]
    return {label: list(zip(*line.get_data(), strict=True)) for label, line in zip(labels, lines, strict=True)}


def words(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_texts_are_encoded_as_the_adapter_encodes_classes(tiny_alm: AlmForAudioClassification) -> None:
    model = get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=2)).eval()
    found = embed_texts(model, ["dog", "rain"], NEIGHBORS)
    model.set_classes(["the sound", "rain"])
    with torch.no_grad():
        expected = model(audio_features=torch.ones(1, 32)).text_embeds
    np.testing.assert_allclose(found.neighbors[1][1], expected[0], atol=1e-6)
    np.testing.assert_allclose(found.classes[1], expected[1], atol=1e-6)
    assert [terms.shape for terms in found.neighbors] == [(2, 32), (2, 32)]


def test_prompts_that_depend_on_the_clip_are_refused(tiny_alm: AlmForAudioClassification) -> None:
    model = get_peft_model(tiny_alm, CoCoOpPromptConfig(n_ctx=2)).eval()
    with pytest.raises(AlmPromptError, match="depend on the clip"):
        embed_texts(model, ["dog", "rain"], NEIGHBORS)


def test_similarities_are_mean_cosines_and_the_share_counts_the_nearest() -> None:
    given = texts(4)
    expected = [[np.mean([c @ t for t in terms]) for terms in given.neighbors] for c in given.classes]
    np.testing.assert_allclose(given.similarities(), expected)
    own = [
        max(range(4), key=lambda index, term=term: given.classes[index] @ term) == number
        for number, terms in enumerate(given.neighbors)
        for term in terms
    ]
    assert given.share_at_own_class() == pytest.approx(sum(own) / len(own))


@pytest.mark.parametrize("classes", [4, 50])
def test_similarity_map_shows_every_cell_and_name(classes: int) -> None:
    models = {"zero-shot": texts(classes), "coop+sept": texts(classes, seed=1)}
    maps = neighbor_similarity(models).axes[:2]
    for axes, (name, given) in zip(maps, models.items(), strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), given.similarities())
        assert axes.get_title().startswith(f"{name}\nown neighbours {np.diag(given.similarities()).mean():.2f}")
        assert len(axes.texts) == (classes**2 if classes == 4 else 0)
    assert words(maps[0].yaxis) == [f"class {number}" for number in range(classes)]


def test_tsne_ties_every_neighbour_to_its_class() -> None:
    given = texts(4)
    figure = neighbor_tsne({"zero-shot": given, "again": given})
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == [f"class {number}" for number in range(4)]
    assert len(first.lines) == 4 * (3 + 1 + 1)  # a tie per neighbour, the neighbours, the class
    for one, other in zip(first.lines, second.lines, strict=True):
        np.testing.assert_array_equal(one.get_data(), other.get_data())
    assert f"{100 * given.share_at_own_class():.0f} %" in first.get_title()


def test_names_of_classes_at_one_place_do_not_cover_each_other() -> None:
    given = texts(5)
    given.classes[1] = given.classes[0]
    figure = neighbor_tsne({"zero-shot": given})
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_scatter_shows_means_over_seeds_and_the_zero_shot_lines(make_row: MakeRow) -> None:
    figures = {"base": 0.6, "novel": 0.5, "base_g": 0.4, "novel_g": 0.3}
    rows = [make_row("zero-shot", seed, **figures) for seed in (0, 1)]
    rows += [make_row("coop", seed, base=0.8 + 0.1 * seed, novel=0.4, base_g=0.7, novel_g=0.2) for seed in (0, 1)]
    figure = base_novel_scatter(rows)
    separate, generalised = (marks(axes) for axes in figure.axes)
    assert separate["coop"] == [pytest.approx((85, 40))]
    assert generalised["coop"] == [pytest.approx((70, 20))]
    assert [y for _, y in separate["zero-shot (both lines)"]] == pytest.approx([50, 50])
    assert "ESC50, mean ± deviation of 2 seeds;" in figure.get_suptitle()
    rows.append(make_row("palm", 0, **figures))
    assert "mean ± deviation of 2 seeds (1 where there is no bar);" in base_novel_scatter(rows).get_suptitle()


def test_twenty_methods_have_marks_that_differ_without_colour(make_row: MakeRow) -> None:
    rows = [make_row(f"method {n}", base=0.5, novel=n / 20, base_g=0.5, novel_g=0.5) for n in range(20)]
    handles, _ = base_novel_scatter(rows).axes[0].get_legend_handles_labels()
    lines = [handle.lines[0] for handle in handles]
    assert len({(line.get_marker(), line.get_markerfacecolor() == "white") for line in lines}) == 20


def test_rows_of_two_tracks_are_not_drawn_together(make_row: MakeRow) -> None:
    figures = {"base": 0.6, "novel": 0.5, "base_g": 0.4, "novel_g": 0.3}
    rows = [make_row("coop", **figures), make_row("palm", track="zebra", **figures)]
    with pytest.raises(AlmPromptError, match="two tracks"):
        base_novel_scatter(rows)


def test_runs_that_others_lack_are_left_out_of_means(make_row: MakeRow, caplog: pytest.LogCaptureFixture) -> None:
    figures = {"base": 0.6, "novel": 0.5, "base_g": 0.4, "novel_g": 0.3}
    rows = [
        make_row(method, dataset=data, **figures) for method in ("zero-shot", "coop") for data in ("ESC50", "SESA")
    ]
    rows.append(make_row("palm", dataset="SESA", **figures))
    assert "palm" not in marks(base_novel_scatter(rows).axes[0])
    assert caplog.messages == ["left out because incomplete: palm, seed 0: 1 of 2 runs are there"]
    more = [row | {"shots": 4} for row in rows if row["method"] == "coop"]
    assert len(marks(accuracy_over_shots([*rows, *more[:1]], "base").axes[0])["coop"]) == 1
    assert "coop, 4 shots, seed 0: 1 of 2 runs are there" in caplog.messages[-1]
    assert len(marks(accuracy_over_shots([*rows, *more], "base").axes[0])["coop"]) == 2
    with pytest.raises(AlmPromptError, match=r"no complete runs to draw \(coop, seed 0: 1 of 2"):
        base_novel_scatter([rows[-1] | {"dataset": "ESC50"}, make_row("coop", **figures, dataset="SESA")][::-1])


def test_accuracy_over_shots(make_row: MakeRow) -> None:
    rows = [
        make_row("coop", seed, shots=shots, accuracy=0.5 + 0.02 * shots + 0.1 * seed)
        for seed in (0, 1)
        for shots in (1, 4)
    ]
    rows += [make_row("zero-shot", shots=shots, accuracy=0.3) for shots in (1, 4)]
    axes = accuracy_over_shots(rows).axes[0]
    shown = marks(axes)
    assert shown["coop"] == [pytest.approx((1, 57)), pytest.approx((4, 63))]
    assert [y for _, y in shown["zero-shot"]] == pytest.approx([30, 30])
    assert words(axes.xaxis) == ["1", "4"]
    assert axes.get_ylabel() == "accuracy (%)"
    both = marks(accuracy_over_shots([*rows, *(row | {"method": "palm"} for row in rows[:4])]).axes[0])
    for (one, _), (other, _), shots in zip(both["coop"], both["palm"], (1, 4), strict=True):
        assert 0.9 * shots < one < shots < other < 1.1 * shots
    with pytest.raises(AlmPromptError, match="method 'coop' has no figure 'novel'"):
        accuracy_over_shots(rows, "novel")
    many = [row | {"method": f"method {n}"} for row in rows[:2] for n in range(10)]
    lines = [handle.lines[0] for handle in accuracy_over_shots(many).axes[0].get_legend_handles_labels()[0]]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10
    with pytest.raises(AlmPromptError, match="no complete runs to draw"):
        accuracy_over_shots([])
    with pytest.raises(AlmPromptError, match="no benchmark rows of trained methods"):
        accuracy_over_shots(rows[-2:])


def test_confusion_matrix_shows_shares_of_the_true_class() -> None:
    axes = confusion_matrix([0, 0, 1, 1], [0, 0, 0, 1], ["dog", "rain", "door_bell"]).axes[0]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares[:2].filled(np.nan), [[200 / 3, 100 / 3, 0], [0, 100, 0]])
    assert shares.mask[2].all()  # no clip of it: hatched, not 0
    assert [text.get_text() for text in axes.texts] == ["67", "33", "100"]
    assert words(axes.yaxis) == ["dog", "rain", "door bell"]
    assert axes.get_title() == "3 of 4 clips right (75.0 %)"
    with pytest.raises(AlmPromptError, match="2 predictions for 1 references"):
        confusion_matrix([0, 1], [0], ["dog", "rain"])


def test_learned_mixing_is_sorted() -> None:
    axes = learned_mixing(["dog", "rain", "siren"], [0.5, 0.9, 0.1]).axes[0]
    bars = [patch.get_width() for patch in axes.containers[0]]
    assert list(zip(words(axes.yaxis), bars, strict=True)) == [("siren", 0.1), ("dog", 0.5), ("rain", 0.9)]


def test_loss_parts_over_steps() -> None:
    log = [{"step": step, "loss": 3.0 / step, "cross_entropy": 2.0 / step, "intra": 1.0 / step} for step in (1, 2)]
    shown = marks(loss_parts([*log, {"step": 2, "train_runtime": 1.0}]).axes[0])
    assert shown["cross entropy"] == [(1, 2.0), (2, 1.0)]
    assert shown["intra"] == [(1, 1.0), (2, 0.5)]
    assert shown["loss (their sum)"] == [(1, 3.0), (2, 1.5)]
    with pytest.raises(AlmPromptError, match="no training loss"):
        loss_parts([{"step": 2, "train_runtime": 1.0}])


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_saving_keeps_the_old_picture_when_it_fails(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / f"mixing.{suffix}"
    figure = learned_mixing(["dog"], [0.5])
    save_figure(figure, path)
    before = path.read_bytes()

    def fail(self: Figure, *args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("alm_prompt.evaluation.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AlmPromptError, match=r'pip install "alm-prompt\[plots\]"'):
        import alm_prompt.evaluation.plots  # noqa: F401
