"""`alm-prompt neighbors` with a tiny chat model and with files, and training with what it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, PhiConfig, PhiForCausalLM, PreTrainedTokenizerFast

from alm_prompt.cli import chat_model
from alm_prompt.cli.loading import TINY_FOLDER
from alm_prompt.cli.main import main
from alm_prompt.prompts import checked_neighbors, read_neighbors

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["dog", "rain", "door bell"]
WORLD_CLASSES = ["bird song", "hand drum", "ocean waves", "police siren"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}assistant"
Refused = Callable[..., str]


def write_chat_model(folder: Path, sayings: Sequence[str], template: str | None = TEMPLATE) -> Path:
    """A tiny causal language model that says one of some sayings, drawn at random, and ends."""
    vocabulary = {word: index for index, word in enumerate(["<end>", "<unk>", "user", "assistant", *sayings])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unk>")
    tokenizer.chat_template = template
    config = PhiConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        eos_token_id=0,
        bos_token_id=None,
    )
    model = PhiForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.fill_(-1e4)
        model.lm_head.bias[4:] = 0
        model.lm_head.bias[0] = 100
    model.generation_config = GenerationConfig(eos_token_id=0, min_new_tokens=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows 40 good answers, two terms each; some name the class 'rain' or are no JSON."""
    good = [json.dumps({"neighbors": [f"noise {n} far", f"noise {n} near"]}) for n in range(40)]
    bad = [json.dumps({"neighbors": ["Rain!", f"murmur {n}"]}) for n in range(15)] + ["Sure!"]
    return write_chat_model(tmp_path_factory.mktemp("chat") / "model", good + bad)


def ask(chat: Path, output: Path, *flags: str) -> list[str]:
    return [
        "neighbors",
        *("--classes", *CLASSES, "--llm", str(chat), "--per-class", "2", "--output", str(output)),
        *flags,
    ]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    terms = {"dog": ["yapping", "growl"], "rain": ["drizzle", "Sea_Waves", "downpour"], "door bell": ["chime", "gong"]}
    return write_json(tmp_path / "own.json", terms)


def test_chat_model_gives_a_file_with_provenance_and_figures(
    chat: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "sounds.json"
    assert main(ask(chat, output, "--retries", "9", "--held-out", "sea waves")) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    content = json.loads(output.read_text())
    terms = read_neighbors(output)
    assert checked_neighbors(terms, CLASSES, held_out=["sea waves"], per_class=2) == terms
    assert list(output.parent.iterdir()) == [output]
    assert content["set"] == "sounds"
    assert content["written_by"] == f"{chat}, a large language model"
    assert "$count acoustic neighbours" in content["instruction"]
    assert content["settings"] == {
        "llm": str(chat),
        "revision": None,
        "temperature": 0.7,
        "seed": 0,
        "class_names": CLASSES,
        "held_out": ["sea waves"],
        "per_class": 2,
    }
    assert {"alm-prompt", "torch", "transformers"} <= content["versions"].keys()
    assert list(content["answers"]) == CLASSES
    for name in CLASSES:
        figures = content["quality"]["classes"][name]
        line = next(line for line in printed.out.splitlines() if line.startswith(f"{name}  "))
        shown = [f"{figures[figure]:.2f}" for figure in ("own", "others", "diversity")]
        assert line.split()[len(name.split()) :] == [*shown, "0", str(content["answers"][name]["retries"])]


def test_same_seed_same_answers_another_seed_others(chat: Path, tmp_path: Path) -> None:
    seeds = {"a": "0", "b": "0", "c": "1"}
    for name, seed in seeds.items():
        assert main(ask(chat, tmp_path / name, "--seed", seed, "--retries", "9")) == 0
    a, b, c = (read_neighbors(tmp_path / name) for name in seeds)
    assert a == b != c


def test_figures_are_those_of_the_models_own_embeddings(own_file: Path, tmp_path: Path) -> None:
    from alm_prompt import AlmForAudioClassification

    output = tmp_path / "out.json"
    flags = ["--per-class", "2", "--held-out", "sea waves", "--template", "the {}", "--output", str(output)]
    assert main(["neighbors", "--from-file", str(own_file), "--classes", *CLASSES, *flags]) == 0
    content = json.loads(output.read_text())
    assert content["classes"]["rain"] == ["drizzle", "downpour"]
    assert content["answers"]["rain"] == {"retries": 0, "dropped": ["Sea_Waves"]}
    assert content["quality"]["overlap_rate"] == round(1 / 7, 4)
    alm = AlmForAudioClassification.from_pretrained(TINY_FOLDER).eval()

    def embed(name: str) -> torch.Tensor:
        with torch.no_grad():
            features = alm.alm.get_text_features(**alm.tokenizer(f"the {name}", return_tensors="pt"))[0]
        return features / features.norm()

    for name in CLASSES:
        first, second = map(embed, content["classes"][name])
        figures = content["quality"]["classes"][name]
        assert figures["own"] == pytest.approx((embed(name) @ (first + second) / 2).item(), abs=1e-4)
        others = [embed(other) @ (first + second) / 2 for other in CLASSES if other != name]
        assert figures["others"] == pytest.approx(sum(others).item() / 2, abs=1e-4)
        assert figures["diversity"] == pytest.approx(1 - (first @ second).item(), abs=1e-4)


def test_header_of_a_file_made_elsewhere_is_carried_on(own_file: Path, tmp_path: Path) -> None:
    terms = json.loads(own_file.read_text())
    stated = {"written_by": "a friend", "date": "2026-01-02", "licence": 7, "classes": terms}
    flags = ["--per-class", "2", "--classes", *CLASSES]
    for name, content in (("bare", terms), ("stated", stated)):
        source = write_json(tmp_path / f"{name}.json", content)
        assert main(["neighbors", "--from-file", str(source), *flags, "--output", str(tmp_path / name)]) == 0
    bare, stated = (json.loads((tmp_path / name).read_text()) for name in ("bare", "stated"))
    assert (bare["written_by"], bare["date"]) == ("not stated", "not stated")
    assert [stated[key] for key in ("written_by", "date", "licence", "instruction")] == [
        "a friend",
        "2026-01-02",
        "not stated",
        "not stated",
    ]
    assert len(stated["settings"]["sha256"]) == 64


@pytest.mark.slow
def test_random_chat_model_fails_in_one_line_and_keeps_what_was_finished(chat: Path, tmp_path: Path) -> None:
    one_answer = write_chat_model(tmp_path / "model", [json.dumps({"neighbors": ["hiss", "hum"]})])
    command = [sys.executable, "-m", "alm_prompt", *ask(one_answer, tmp_path / "out.json", "--retries", "2")]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path
    )
    assert result.returncode == 2
    assert result.stderr == (
        "error: no 2 neighbours after 3 answers for 'rain' (0 of 2 terms; the last problem: 'hiss' is a term of class "
        "'dog' already), 'door bell' (0 of 2 terms; the last problem: 'hiss' is a term of class 'dog' already); allow "
        "more retries or ask another model\n"
    )
    assert not (tmp_path / "out.json").exists()
    assert read_neighbors(tmp_path / "out.json.partial") == {"dog": ["hiss", "hum"]}


KILLED_AT_THE_SECOND_CLASS = """
import os, signal, sys
from alm_prompt.cli import chat_model
from alm_prompt.cli.main import main

answer = chat_model.ChatModel.__call__
def answer_or_die(self, messages):
    if 'of the class "rain":' in messages[0]["content"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, messages)
chat_model.ChatModel.__call__ = answer_or_die
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_like_one_that_was_not(
    chat: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, killed = ask(chat, tmp_path / "out.json"), ask(chat, tmp_path / "killed" / "out.json")
    assert main([*whole, "--retries", "9"]) == 0
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_CLASS, *killed]
    result = subprocess.run(command, env=environment(), capture_output=True, check=False, timeout=300)
    assert result.returncode == -signal.SIGKILL
    [partial] = (tmp_path / "killed").iterdir()
    assert list(read_neighbors(partial)) == ["dog"]
    for flags, name in (
        (["--seed", "1"], "seed"),
        (["--held-out", "cat"], "held_out"),
        (["--per-class", "3"], "per_class"),
    ):
        assert f"begun with another {name}" in refused(*killed, *flags)

    asked = []
    answer = chat_model.ChatModel.__call__

    def listen(self: chat_model.ChatModel, messages: list[dict[str, str]]) -> str:
        asked.append(messages[0]["content"])
        return answer(self, messages)

    monkeypatch.setattr(chat_model.ChatModel, "__call__", listen)
    assert main([*killed, "--retries", "9"]) == 0
    assert "1 of 3 classes are there" in capfd.readouterr().out
    assert asked and not [question for question in asked if 'of the class "dog":' in question]
    assert (tmp_path / "killed" / "out.json").read_text() == (tmp_path / "out.json").read_text()
    assert not partial.exists()


def test_finished_run_is_measured_again_without_asking(chat: Path, tmp_path: Path) -> None:
    """Killed after the last class, or ended by a --model that could not read a term."""
    command = ask(chat, tmp_path / "out.json", "--retries", "9")
    assert main(command) == 0
    content = (tmp_path / "out.json").read_text()
    (tmp_path / "out.json").rename(tmp_path / "out.json.partial")
    (chat / "model.safetensors").rename(chat / "hidden")
    try:
        assert main(command) == 0
    finally:
        (chat / "hidden").rename(chat / "model.safetensors")
    assert (tmp_path / "out.json").read_text() == content


def test_progress_that_was_changed_by_hand_is_held_to_the_rules(chat: Path, tmp_path: Path, refused: Refused) -> None:
    command = ask(chat, tmp_path / "out.json", "--retries", "9")
    assert main(command) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    (tmp_path / "out.json").unlink()
    content["classes"]["rain"] = ["drizzle"]
    write_json(tmp_path / "out.json.partial", content)
    assert "class 'rain' has 1 neighbours; every class needs 2" in refused(*command)


def test_model_of_the_hub_is_named_with_its_commit(
    chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    cached = tmp_path / "hub" / "models--me--chat"
    shutil.copytree(chat, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    output = tmp_path / "out.json"
    assert main(ask(Path("me/chat"), output, "--retries", "9")) == 0
    content = json.loads(output.read_text())
    assert content["written_by"] == f"me/chat at revision {commit}, a large language model"
    assert content["settings"]["revision"] == commit


def test_output_that_is_there_is_replaced_only_when_told(own_file: Path, tmp_path: Path, refused: Refused) -> None:
    output = tmp_path / "out.json"
    command = ["neighbors", "--from-file", own_file, "--classes", *CLASSES, "--per-class", "2", "--output"]
    output.write_text("mine")
    assert "add --overwrite" in refused(*command, output)
    assert output.read_text() == "mine"
    assert main([*map(str, command), str(output), "--overwrite"]) == 0
    assert list(read_neighbors(output)) == CLASSES
    assert "is a folder" in refused(*command, tmp_path)
    assert "choose another --output" in refused(*command, own_file / "below.json")


FROM_FILE = ["--from-file", "own.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "o.json", *FROM_FILE], "--classes"),
        (["--classes", "--output", "o.json", *FROM_FILE], "--classes: expected at least one"),
        (["--classes", "dog", "--output", "o.json", *FROM_FILE], "there are 1"),
        (["--classes", "dog", "rain", "Dog", "--output", "o.json", *FROM_FILE], "'Dog' stands twice"),
        (["--classes", *CLASSES, *FROM_FILE], "--output"),
        (["--classes", *CLASSES, "--output", "o.json"], "either --llm"),
        (["--classes", *CLASSES, "--output", "o.json", "--llm", "m", *FROM_FILE], "either --llm"),
        (["--classes", *CLASSES, "--output", "o.json", *FROM_FILE, "--per-class", "0"], "per_class is 0"),
        (["--classes", *CLASSES, "--output", "o.json", *FROM_FILE, "--retries", "-1"], "retries is -1"),
        (
            ["--classes", *CLASSES, "--output", "o.json", *FROM_FILE, "--held-out", "RAIN"],
            "'RAIN' is the class 'rain'",
        ),
        (["--classes", *CLASSES, "--output", "o.json", *FROM_FILE], "'dog' has 2 neighbours, but 10 are asked for"),
        (["--classes", "dog", "rain", "--output", "o.json", *FROM_FILE], "for other classes ('door bell')"),
        (["--classes", *CLASSES, "--output", "o.json", "--from-file", "no.json"], "cannot read no.json"),
        (["--classes", *CLASSES, "--output", "o.json", "--from-file", "deep.json"], "deep.json is not clean JSON"),
        (
            ["--classes", *CLASSES, "--output", "o.json", "--llm", "no/model"],
            "--llm 'no/model' (a folder or a Hub id)",
        ),
        (["--classes", *CLASSES, "--output", "o.json", "--llm", "empty"], "--llm 'empty' (a folder or a Hub id)"),
    ],
)
def test_bad_input_is_refused_before_any_model_is_opened(
    own_file: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(own_file.parent)
    monkeypatch.setattr("alm_prompt.cli.loading.open_model", lambda *_: pytest.fail("a model was opened"))
    Path("deep.json").write_text("[" * 100_000)
    Path("empty").mkdir()
    before = sorted(Path().iterdir())
    assert message in refused("neighbors", *flags)
    assert sorted(Path().iterdir()) == before


def test_models_that_cannot_be_used_are_named(chat: Path, tmp_path: Path, refused: Refused) -> None:
    output = tmp_path / "out.json"
    no_template = write_chat_model(tmp_path / "plain", ["hello"], template=None)
    refusing = write_chat_model(tmp_path / "refusing", ["hello"], "{{ raise_exception('no such role') }}")
    assert "no chat template" in refused(*ask(no_template, output))
    assert "no such role" in refused(*ask(refusing, output))
    assert "reads 2048 tokens" in refused(*ask(chat, output, "--per-class", "63"))
    assert "no chat template" in refused(*ask(TINY_FOLDER, output))
    assert "--model 'no/model'" in refused(*ask(chat, output, "--model", "no/model"))
    (tmp_path / "out.json.partial").write_text('{"dog": ["yapping", "growl"]}')
    assert "holds no progress" in refused(*ask(chat, output))
    assert not output.exists()


def test_no_advice_to_run_what_a_pickle_holds(chat: Path, tmp_path: Path, refused: Refused) -> None:
    folder = shutil.copytree(chat, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    for content in (b"\x80\x02garbage", b""):
        (folder / "pytorch_model.bin").write_bytes(content)
        error = refused(*ask(folder, tmp_path / "out.json"))
        assert f"--llm {str(folder)!r} (a folder or a Hub id) cannot be opened" in error
        assert "weights_only" not in error


def test_code_of_a_repository_is_not_run(chat: Path, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "coded"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}})
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "--llm" in refused(*ask(folder, tmp_path / "out.json"))
    assert not (tmp_path / "ran").exists()


def neighbors_for(names: Sequence[str]) -> dict[str, list[str]]:
    return {name: [f"{name} nearby", f"{name} far away"] for name in names}


def test_train_takes_the_neighbours_of_a_file(world: Path, tmp_path: Path, refused: Refused) -> None:
    names = WORLD_CLASSES[:3]
    path = write_json(tmp_path / "n.json", neighbors_for(names))
    base = ["train", "--data", world, "--classes", *names, "--shots", "2", "--epochs", "1", "--no-cache"]
    command = [
        *base,
        "--output-dir",
        tmp_path / "run",
        "--method-options",
        "coop.n_ctx=4",
        "sept.margin_templates=template",
    ]
    with_file = [*command, "--method", "coop+sept+zebra", "--neighbors", path]
    assert main([str(argument) for argument in with_file]) == 0
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["prompt"]["neighbors"] == neighbors_for(names)
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["neighbors"] == neighbors_for(names)

    write_json(path, neighbors_for(names) | {"hand drum": ["tapping", "beating"]})
    assert "begun with another neighbors" in refused(*with_file, "--resume")
    output = ["--output-dir", tmp_path / "other", "--neighbors", path]
    assert "takes neighbours" in refused(*base, *output, "--method", "coop+zebra")
    twice = ["--method-options", "sept.neighbors={}"]
    assert "given twice" in refused(*base, *output, "--method", "coop+sept", *twice)
    assert "unknown prompt method 'sebt'" in refused(*base, *output, "--method", "coop+sebt")
    write_json(path, neighbors_for(WORLD_CLASSES))
    assert "for other classes ('police siren')" in refused(*base, *output, "--method", "coop+sept")
    path.unlink()
    assert "cannot read" in refused(*base, *output, "--method", "coop+sept")
    assert not (tmp_path / "other").exists()


def test_benchmark_takes_the_neighbours_of_the_base_classes(world: Path, tmp_path: Path, refused: Refused) -> None:
    path = write_json(tmp_path / "n.json", neighbors_for(WORLD_CLASSES))
    base = [
        "evaluate",
        "--base-to-novel",
        "--data",
        world,
        "--classes",
        *WORLD_CLASSES,
        "--seeds",
        "0",
        "--neighbors",
        path,
    ]
    methods = ["--methods", "coop", "coop+sept", "--method-options", "coop.n_ctx=4", "sept.margin_templates=template"]
    command = [*base, *methods, "--shots", "2", "--epochs", "1", "--no-cache", "--output-dir"]
    assert main([str(argument) for argument in (*command, tmp_path / "run")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert rows[1]["base_classes"] == WORLD_CLASSES[:2]
    assert rows[1]["config"]["neighbors"] == neighbors_for(WORLD_CLASSES[:2])
    assert "neighbors" not in rows[0]["config"]

    write_json(path, neighbors_for(WORLD_CLASSES) | {"hand drum": ["Ocean_Waves", "tapping"]})
    line = refused(*command, tmp_path / "other")
    assert "'Ocean_Waves' of class 'hand drum' is the held-out class 'ocean waves'" in line
    write_json(path, neighbors_for(WORLD_CLASSES))
    assert "none of coop takes neighbours" in refused(*base, "--methods", "coop", "--output-dir", tmp_path / "other")
    assert not (tmp_path / "other").exists()
