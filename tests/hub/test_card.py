"""The card of an adapter: what was measured, and nothing that a name could make of it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
import yaml
from peft import get_peft_model

from alm_prompt import (
    AlmForAudioClassification,
    AlmTrainer,
    AlmTrainingArguments,
    CoOpPromptConfig,
    load_adapter,
    methods,
    push_adapter,
    record_results,
)
from alm_prompt.hub import AdapterResults
from alm_prompt.hub.escaping import cell, code, plain
from alm_prompt.methods import parse_method
from alm_prompt.registry import METHODS

METHOD_FOLDERS = Path(methods.__file__).parent


def card(folder):
    """Header and text."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    header, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    return yaml.safe_load(header), body


def saved(model, folder):
    model.save_pretrained(folder)
    return card(folder)


WHOLE = """
<!-- alm_prompt writes what follows, from adapter_config.json and results.json. -->

# coop\\+zebra for 3 classes of sound

An adapter of an audio-language model, .*
256 learned numbers of the method coop\\+zebra beside the frozen backbone `tiny`\\.

Trained to tell apart: `church bell`, `hand drum`, `police siren`\\.

## How to use it
.*
import alm_prompt

model = alm_prompt\\.load_adapter\\("user/name"\\)  # opens the backbone, too
.*
## Training

Settings that differ from the defaults:

- template: `This is a sound of \\{\\}\\.`
- coop\\.n_ctx: `2`

The run is not recorded\\.

## Results

Shares in %, mean ± standard deviation where there are several runs\\.

\\| data \\| how \\| figure \\| value \\| runs \\| split \\|
\\|---\\|---\\|---\\|---\\|---\\|---\\|
\\| `user/sounds` \\| `3 seeds` \\| accuracy on base classes \\| 60\\.0 ± 10\\.0 \\| 3 \\| `0123456789ab` \\|
\\| `user/sounds` \\| `3 seeds` \\| accuracy on novel classes \\| 50\\.0 ± 0\\.0 \\| 3 \\| `0123456789ab` \\|
\\| not named \\|  \\| accuracy \\| 75\\.0 \\| 1 \\|  \\|

## Intended use and limits
.*
### Framework versions

- python .*
- PEFT .*
## Citation

```bibtex
@article\\{zhou2022coop,.*
@inproceedings\\{hanif2026zebra,.*
```

<!-- What stands below is yours, .* -->
"""


def test_card_says_what_was_measured(adapter):
    record_results(
        adapter, {"base": [0.5, 0.6, 0.7], "novel": [0.5, 0.5, 0.5]}, dataset="user/sounds", split="0123456789abcdef",
        protocol="3 seeds",
    )  # fmt: skip
    record_results(adapter, {"accuracy": 0.25})
    record_results(adapter, {"accuracy": 0.75})
    header, body = card(adapter)
    assert re.fullmatch(WHOLE, body, re.DOTALL)
    assert {key: value for key, value in header.items() if key != "model-index"} == {
        "library_name": "peft",
        "pipeline_tag": "audio-classification",
        "tags": ["alm_prompt", "audio-classification", "coop", "zebra"],
    }
    [entry] = header["model-index"]
    [result] = entry["results"]
    assert entry["name"] == "coop+zebra"
    details = {"config": "3 seeds", "split": "0123456789abcdef"}
    assert result["dataset"] == {"name": "user/sounds", "type": "user/sounds", **details}
    assert [(metric["name"], metric["value"]) for metric in result["metrics"]] == [
        ("accuracy on base classes", 0.6),
        ("accuracy on novel classes", 0.5),
    ]
    assert result["metrics"][0]["args"] == {"runs": 3, "standard_deviation": 0.1}


def test_measurements_of_one_data_set_stay_apart(adapter):
    measured = {("a", "one"): 0.1, ("a", "two"): 0.2, ("b", "one"): 0.3, (None, None): 0.4}
    for (split, protocol), value in measured.items():
        record_results(adapter, {"accuracy": value}, dataset="user/sounds", split=split, protocol=protocol)
    [entry] = card(adapter)[0]["model-index"]
    found = {
        (result["dataset"].get("split"), result["dataset"].get("config")): result["metrics"][0]["value"]
        for result in entry["results"]
    }
    assert found == measured


def test_measurements_at_the_same_time_are_all_kept(adapter):
    names = [f"user/{number}" for number in range(8)]
    start = Barrier(len(names))

    def measure(name):
        start.wait()
        record_results(adapter, {"accuracy": 0.5}, dataset=name)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(measure, names))
    assert {entry.dataset for entry in AdapterResults.load(adapter).measurements} == set(names)


def test_nothing_measured_is_said(adapter):
    header, body = card(adapter)
    assert "Nothing was measured." in body
    assert "The run is not recorded." in body
    assert "model-index" not in header
    results = json.loads((adapter / "results.json").read_text())
    assert (results["training"], results["measurements"]) == (None, [])


def test_trainer_tells_what_it_did_and_measured(make_tiny_alm, audio_batch, tmp_path):
    rows = [dict(zip(audio_batch, row, strict=True)) for row in zip(*audio_batch.values(), strict=True)]
    model = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=2))
    args = AlmTrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=2, learning_rate=0.01, use_cpu=True, save_strategy="no",
        logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = AlmTrainer(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda outcome: {"accuracy": (outcome.predictions[0].argmax(-1) == outcome.label_ids).mean()},
    )
    trainer.train()
    metrics = trainer.evaluate()
    _, body = saved(model, tmp_path / "adapter")
    results = AdapterResults.load(tmp_path / "adapter")
    assert results.training["settings"] == {"max_steps": 2, "learning_rate": 0.01}
    assert (results.training["clips"], results.training["steps"]) == (8, 2)
    [measurement] = results.measurements
    assert measurement.figures["accuracy"].mean == metrics["eval_accuracy"]
    assert measurement.figures.keys() == {"accuracy"}
    assert "- learning_rate: `0.01`\n" in body
    assert str(tmp_path) not in body
    with model.disable_adapter():
        trainer.evaluate()
    trained_on = model.class_names
    model.set_classes(["dog", "rain", "siren", "cat"])
    trainer.evaluate()
    saved(model, tmp_path / "adapter")
    protocols = [measurement.protocol for measurement in AdapterResults.load(tmp_path / "adapter").measurements]
    assert protocols == ["Trainer.evaluate, eval", "Trainer.evaluate, eval, classes 'dog', 'rain', 'siren', 'cat'"]
    [measurement, _] = AdapterResults.load(tmp_path / "adapter").measurements
    assert measurement.figures["accuracy"].mean == metrics["eval_accuracy"]
    model.set_classes(trained_on)
    trainer.train()
    saved(model, tmp_path / "adapter")
    assert AdapterResults.load(tmp_path / "adapter").measurements == []


def figures(folder):
    return [list(entry.figures) for entry in AdapterResults.load(folder).measurements]


def test_what_was_measured_is_kept_while_the_numbers_are(adapter, model, tmp_path):
    record_results(adapter, {"accuracy": 0.5}, dataset="user/sounds")
    assert "50.0" in saved(model, adapter)[1]
    again = load_adapter(adapter)
    record_results(again, {"h": 0.25})
    for folder in (adapter, tmp_path / "copy"):
        assert "50.0" in saved(again, folder)[1]
        assert figures(folder) == [["accuracy"], ["h"]]
    other = load_adapter(adapter)
    other.peft_config["default"].alpha = 0.25
    assert "Nothing was measured." in saved(other, tmp_path / "other")[1]
    other = load_adapter(adapter)
    with torch.no_grad():
        next(value for name, value in other.named_parameters() if "learned_" in name).add_(1)
    for folder in (tmp_path / "other", adapter):
        assert "Nothing was measured." in saved(other, folder)[1]


HOSTILE = [
    "a\n---\nlicense: mit\n---\n# Free",
    "`code` ``two`` ```three```",
    "|x|[link](https://evil)<script>alert(1)</script><!-- --> ![i](x)",
    "{0.__class__} {{ 7 * 7 }} {% for x in y %} %s ${HOME}",
    "\u202eright to left\u0000\u0007\u001b[31m\u2028",
]


def test_hostile_names_are_only_names(make_tiny_alm, tmp_path):
    alm = make_tiny_alm(classes=[*HOSTILE, "dog"])
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=1))
    config = model.peft_config["default"]
    config.results = AdapterResults(training={"a\n# b": HOSTILE[0]}, license=HOSTILE[0], datasets=HOSTILE)
    for number, name in enumerate(HOSTILE):
        record_results(model, {f"f{number} {name}": 0.5}, dataset=name, split=name, protocol=name)
    header, body = saved(model, tmp_path)
    assert header["license"] == plain(HOSTILE[0])
    assert header["datasets"] == [plain(name) for name in HOSTILE]
    assert len(header["model-index"][0]["results"]) == len(HOSTILE)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.split("\n").count("---") == 2
    assert "\n# Free" not in text
    assert "49" not in body
    [named] = [line for line in body.splitlines() if line.startswith("Trained to tell apart")]
    outside = re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", named)
    assert not any(sign in outside for sign in "<>[]{}|")
    rows = [line for line in body.splitlines() if line.startswith("| ") and "50.0" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [7] * len(HOSTILE)
    # What comes back is what was given.
    assert AdapterResults.load(tmp_path).datasets == HOSTILE
    assert saved(model, tmp_path)[1] == body


@pytest.mark.parametrize(
    "text", [*HOSTILE, "", " ", "`", "``a", "a`", "plain words", "\u0645\u06cc\u200c\u062e\u0648"]
)
def test_code_spans_hold_the_text_and_nothing_else(text):
    span = code(text)
    fence = re.match("`+", span).group()
    inner = span[len(fence) : -len(fence)]
    assert span == fence + inner + fence
    assert not re.search(rf"(?<!`){fence}(?!`)", inner)
    assert inner.strip() == plain(text).strip()
    assert not re.search(r"(?<!\\)\|", cell(text))


def test_owner_keeps_what_is_his(model, adapter):
    path = adapter / "README.md"
    text = path.read_text().replace("tags:\n", "language: en\ntags:\n", 1)
    path.write_text(text.replace("<!-- alm_prompt writes", "Read this first.\n<!-- alm_prompt writes") + "Thanks.\n")
    header, body = saved(model, adapter)
    assert header["language"] == "en"
    assert body.startswith("\nRead this first.\n<!-- alm_prompt writes")
    assert re.search(r"yours.* -->\nThanks\.$", body)
    path.write_text("# Mine\n\nAll of it.\n")
    header, body = saved(model, adapter)
    assert body.strip().startswith("# Mine\n\nAll of it.")
    assert "base_model" not in header
    path.unlink()
    assert "# coop+zebra for 3 classes" in saved(model, adapter)[1]


def test_local_backbone_is_in_no_card(make_tiny_alm, tmp_path):
    alm = make_tiny_alm()
    alm.save_pretrained(tmp_path / "backbone")
    alm = AlmForAudioClassification.from_pretrained(tmp_path / "backbone", class_names=["dog", "rain"])
    header, body = saved(get_peft_model(alm, CoOpPromptConfig(n_ctx=1)), tmp_path / "adapter")
    assert str(tmp_path) not in str(header) + body
    assert "load_adapter" not in body
    assert '"path/to/the/backbone"' in body


def test_hub_backbone_is_named(make_tiny_alm, tmp_path):
    alm = make_tiny_alm()
    alm.name_or_path = alm.config.name_or_path = "laion/clap-htsat-unfused"
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=1))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    header, body = card(tmp_path)
    assert header["base_model"] == "laion/clap-htsat-unfused"
    assert 'from_pretrained("laion/clap-htsat-unfused")' in body


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"accuracy": 75}, "'accuracy' is 75"),
        ({"base": []}, r"is \[\]"),
        ({"h": float("nan")}, "finite"),
        ({"h": 10**400}, "finite"),
        ({"h": None}, "finite"),
        ({"h": ["a\nb"]}, "finite"),
        ({"h": torch.zeros(2, 2)}, "finite"),
    ],
)
def test_figures_that_are_no_shares_are_refused(figures, message, adapter, refused):
    assert re.search(message, refused(record_results, adapter, figures))


@pytest.mark.parametrize(
    ("values", "runs"),
    [
        (np.float32(0.5), 1),
        (torch.tensor(0.5), 1),
        ([np.float64(0.5), torch.tensor(0.5)], 2),
        (np.full(3, 0.5, np.float32), 3),
        (torch.full((3,), 0.5), 3),
    ],
)
def test_numbers_of_other_libraries_are_figures(values, runs, adapter):
    record_results(adapter, {"h": values})
    [measurement] = AdapterResults.load(adapter).measurements
    assert (measurement.figures["h"].mean, measurement.figures["h"].runs) == (0.5, runs)


def measured(mean=0.5, **more):
    return json.dumps({"measurements": [{"figures": {"h": {"mean": mean, **more}}}]})


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        "{}",
        '"x"',
        "3",
        '{"measurements": [1]}',
        '{"measurements": [], "more": 1}',
        '{"measurements": [{"figures": [1]}]}',
        '{"measurements": [{"figures": {}, "split": 5}]}',
        '{"measurements": [], "training": {"settings": [1]}}',
        '{"measurements": [], "versions": [1]}',
        '{"measurements": [], "versions": {"python": 3}}',
        '{"measurements": [], "datasets": [1]}',
        '{"measurements": [], "license": 5}',
        measured(mean=10**400),
        measured(mean="0.5"),
        measured(deviation=float("nan")),
        measured(runs="1 | 2"),
        "[" * 99999,
    ],
    ids=lambda text: text[:60],
)
def test_other_results_are_refused(text, adapter, refused):
    (adapter / "results.json").write_text(text)
    assert "no results of an adapter" in refused(record_results, adapter, {"h": 0.5})


CARDS = {
    "no text": (b"caf\xe9", "README.md is no text in UTF-8"),
    "header of a list": (b"---\n- a\n---\nhi", "README.md: its header is no YAML of names and values"),
    "broken header": (b"---\na: [\n---\nhi", "README.md: its header is no YAML of names and values"),
    "numbers for names": (b"---\n1: x\n---\nhi", "README.md: its header is no YAML of names and values"),
    "without end": (b" " * (2**22 + 1), "README.md has 4,194,305 bytes, more than"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_cards_that_cannot_be_kept_are_refused_before_anything_is_written(kind, adapter, refused):
    content, message = CARDS[kind]
    (adapter / "README.md").write_bytes(content)
    assert message in refused(record_results, adapter, {"h": 0.5})
    assert (adapter / "README.md").read_bytes() == content
    assert AdapterResults.load(adapter).measurements == []


def test_a_link_is_no_card(adapter, tmp_path, refused):
    (tmp_path / "secret").write_text("of mine")
    (adapter / "README.md").unlink()
    (adapter / "README.md").symlink_to(tmp_path / "secret")
    assert "README.md is a link to another file" in refused(record_results, adapter, {"h": 0.5})
    assert "README.md is a link to another file" in refused(push_adapter, adapter, "user/bells", token="hf_dummy")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_names": 5}, "adapter_config.json: ZebraPromptConfig: class_names is 5"),
        ({"prompt": {}}, "adapter_config.json: ZebraPromptConfig wraps a prompt method, but prompt is of type dict"),
    ],
)
def test_a_card_is_not_made_of_settings_that_cannot_be(settings, message, adapter, refused):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    assert message in refused(record_results, adapter, {"h": 0.5})
    assert message in refused(push_adapter, adapter, "user/bells", token="hf_dummy")


def test_results_and_weights_without_end_or_sense(adapter, refused):
    (adapter / "adapter_model.safetensors").write_bytes(b"x")
    assert "adapter_model.safetensors cannot be read" in refused(record_results, adapter, {"h": 0.5})
    with (adapter / "results.json").open("rb+") as file:
        file.truncate(2**35)
    assert "more than the 4,194,304 that it may have" in refused(record_results, adapter, {"h": 0.5})


def test_every_published_method_is_cited():
    # A reference, not a publication: a linear layer.
    for name in METHODS.keys() - {"linear_probe"}:
        entry = (METHOD_FOLDERS / name / "citation.bib").read_text(encoding="utf-8")
        assert re.match(r"@\w+\{\w+,\n", entry), name
        assert entry.count("{") == entry.count("}")
        assert re.search(r"arXiv:\d{4}\.\d{5}", entry), name


def test_stack_is_written_innermost_first(make_tiny_alm, tmp_path):
    model = get_peft_model(make_tiny_alm(), parse_method("coop+dept+zebra", {"coop.n_ctx": 1, "zebra.alpha": 0.3}))
    _, body = saved(model, tmp_path)
    assert "# coop+dept+zebra for 4 classes" in body
    assert "- zebra.alpha: `0.3`\n" in body
    assert body.index("zhou2022coop") < body.index("zhang2024dept") < body.index("hanif2026zebra")
