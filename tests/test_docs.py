"""README and docs hold: links lead somewhere, and the Python examples run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from transformers import GPT2Config

import alm_prompt.methods  # noqa: F401 (registers the methods)
from alm_prompt import AlmConfig, AlmProcessor, PengiConfig, PengiForConditionalGeneration, PengiProcessor
from alm_prompt.cli.main import main
from alm_prompt.data.world import write_world
from alm_prompt.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


PAGES_WITH_CODE = [page for page in PAGES if python_blocks(page)]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = [target for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))) if ":" not in target]
    broken = [target for target in targets if not (page.parent / target.partition("#")[0]).exists()]
    assert not broken, f"{page.relative_to(ROOT)}: {broken}"


def test_readme_prints_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "pip install . && alm-prompt quickstart" in lines
    assert 'pip install ".[test]" && python -m pytest' in lines  # .ci/run runs this line


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES if ROOT / "docs" in page.parents}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("docs")
    clips = write_world(folder / "my-sounds", per_class=8)
    shutil.copy(clips[0].source, folder / "some.wav")
    write_tiny_pengi(folder / "models" / "pengi-writer")
    return folder


def write_tiny_pengi(folder: Path) -> None:
    """Pengi with the bundled model as its encoders, and a decoder that has learned nothing."""
    tiny = ROOT / "alm_prompt" / "assets" / "tiny_alm"
    encoders = AlmProcessor.from_pretrained(tiny)
    processor = PengiProcessor(encoders.feature_extractor, encoders.tokenizer, encoders.tokenizer)
    decoder = GPT2Config(vocab_size=len(encoders.tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=128)
    config = PengiConfig(AlmConfig.from_pretrained(tiny), decoder, mapper_layers=1, **processor.stopping_ids)
    PengiForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Forget methods that an example registers."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


# The examples as printed, but on the bundled model, with few clips and a few steps.
STAND_INS = (
    ("laion/clap-htsat-unfused", str(ROOT / "alm_prompt" / "assets" / "tiny_alm")),
    ("shots=16", "shots=4"),
    ("seeds=(0, 1, 2)", "seeds=(0,)"),
    ("AlmTrainingArguments(", "AlmTrainingArguments(max_steps=2, use_cpu=True, "),
    ("run_benchmark(", "run_benchmark(training_args={'max_steps': 2, 'use_cpu': True}, "),
)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_run(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(python_blocks(page))
    for printed, stand_in in STAND_INS:
        code = code.replace(printed, stand_in)
    monkeypatch.chdir(workplace)
    for leftover in ("run", "runs", "my-adapter"):
        shutil.rmtree(leftover, ignore_errors=True)
    # In a module of its own: dataclasses look up the module that they are defined in.
    module = ModuleType("docs_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(page), "exec"), module.__dict__)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_a_page_and_stands_in_the_overviews(method: str) -> None:
    page = f"{method.replace('_', '-')}.md"
    config = METHODS[method].__name__
    for overview, mark in (("methods/index.md", page), ("reference/api.md", config), (f"methods/{page}", config)):
        assert mark in (ROOT / "docs" / overview).read_text(encoding="utf-8"), f"docs/{overview}: no {mark}"


@pytest.mark.parametrize(
    "command",
    ["quickstart", "train", "evaluate", "predict", "neighbors", "cache", "convert", "export", "push", "report"]
    + [f"plot {kind}" for kind in ("neighbors", "tsne", "base-novel", "shots", "confusion", "mixing", "losses")],
)
def test_every_flag_is_documented(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10000")  # argparse breaks lines at the dashes of a flag
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    flags = set(re.findall(r"--[a-z][a-z-]*[a-z]", capsys.readouterr().out.replace("_", "-"))) - {"--help"}
    pages = [ROOT / "docs" / "reference" / "cli.md", ROOT / "docs" / "quickstart.md"]
    documented = set(re.findall(r"--[a-z][a-z-]*[a-z]", "\n".join(page.read_text(encoding="utf-8") for page in pages)))
    assert flags <= documented
