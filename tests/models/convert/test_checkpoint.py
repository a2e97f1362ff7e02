"""What goes into a conversion and what comes out of it: files, front end, tokenizer, report, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchaudio
from safetensors.torch import save_file
from transformers import CLIPTokenizer, GPT2Tokenizer

from alm_prompt import AlmForAudioClassification, AlmModel, AlmProcessor
from alm_prompt.errors import AlmPromptError
from alm_prompt.models.convert import checkpoint as module
from alm_prompt.models.convert.checkpoint import FAMILIES, convert_checkpoint

FAMILY = "msclap-2022"  # the quickest to convert


def same_weights(folder, other):
    ours, theirs = (AlmModel.from_pretrained(path).state_dict() for path in (folder, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def convert(converted, tmp_path):
    """Converts changed weights of a family; returns the folder."""

    def run(weights, family=FAMILY, tokenizer=None):
        torch.save({"model": weights}, tmp_path / "changed.pth")
        convert_checkpoint(
            family, tmp_path / "changed.pth", tmp_path / "out", tokenizer or converted(family).tokenizer
        )
        return tmp_path / "out"

    return run


# Sources


def test_safetensors_and_bare_weights_give_the_same_model(converted, tmp_path):
    expected = converted(FAMILY)
    bare = {f"module.{name}": tensor for name, tensor in expected.weights.items()}
    save_file(bare, tmp_path / "weights.safetensors")
    torch.save(bare, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    for source in ("weights.safetensors", "weights.pth"):
        folder = tmp_path / f"from {source}"
        convert_checkpoint(FAMILY, tmp_path / source, folder, expected.tokenizer)
        assert same_weights(folder, expected.folder)


def test_half_precision_sources_are_written_in_float32(converted, convert):
    weights = converted(FAMILY).weights
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    half["audio_encoder.base.logmel_extractor.melW"] = weights["audio_encoder.base.logmel_extractor.melW"]
    model = AlmModel.from_pretrained(convert(half), dtype="auto")
    assert model.dtype == torch.float32
    assert torch.equal(model.audio_tower.fc.weight, weights["audio_encoder.base.fc1.weight"].half().float())


def test_numbers_of_the_training_log_do_not_keep_weights_from_being_read(converted, tmp_path):
    numpy = pytest.importorskip("numpy")
    expected = converted(FAMILY)
    content = {"epoch": numpy.int64(4), "best": numpy.float64(0.5), "state_dict": expected.weights}
    torch.save(content, tmp_path / "logged.pt")
    convert_checkpoint(FAMILY, tmp_path / "logged.pt", tmp_path / "out", expected.tokenizer)
    assert same_weights(tmp_path / "out", expected.folder)


class Malicious:
    """A pickle of it runs a command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_refused_and_never_run(protocol, converted, tmp_path):
    content = {"model": converted(FAMILY).weights, "extra": Malicious(tmp_path / "was run")}
    torch.save(content, tmp_path / "bad.pth", pickle_protocol=protocol)
    with pytest.raises(AlmPromptError, match=r"bad\.pth .*nothing of it was run; give the official file"):
        convert_checkpoint(FAMILY, tmp_path / "bad.pth", tmp_path / "out", converted(FAMILY).tokenizer)
    assert os.listdir(tmp_path) == ["bad.pth"]


def write_truncated(path, good):
    path.write_bytes(good.read_bytes()[:-100_000])


BROKEN = {
    "twice.pth": (
        lambda path, _: torch.save({"a": torch.ones(1), "module.a": torch.ones(1)}, path),
        "with and without",
    ),
    "truncated.pth": (write_truncated, "it is incomplete, no checkpoint"),
    "truncated.safetensors": (write_truncated, "it is incomplete, no checkpoint"),
    "text.pth": (lambda path, _: path.write_text("no weights"), "it is incomplete, no checkpoint"),
    "empty.pth": (lambda path, _: path.write_bytes(b""), "is empty"),
    "pointer.pth": (
        lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "Git LFS pointer",
    ),
    "page.pth": (lambda path, _: path.write_text("\n<!DOCTYPE html><html>"), "is an HTML page"),
    "bare.pt": (lambda path, _: path.write_text("<html>"), "is an HTML page"),
    "model.safetensors.index.json": (lambda path, _: path.write_text("{}"), "one file"),
    "folder.pth": (lambda path, _: path.mkdir(), "is a folder"),
    "missing.pth": (lambda path, _: None, "does not exist"),
    "tensor.pth": (lambda path, _: torch.save(torch.zeros(3), path), "no weights by name"),
    "nested.pth": (lambda path, _: torch.save({"model": {"a": torch.zeros(1), "b": [1]}}, path), "'b' of type list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_no_checkpoint_are_refused_by_name(name, converted, tmp_path):
    write, message = BROKEN[name]
    write(tmp_path / name, converted(FAMILY).source)
    with pytest.raises(AlmPromptError, match=message) as refusal:
        convert_checkpoint(FAMILY, tmp_path / name, tmp_path / "out", converted(FAMILY).tokenizer)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_another_family_is_named(family, converted, tmp_path):
    other = "laion" if family != "laion" else "pengi"
    with pytest.raises(AlmPromptError, match=f"is not of {other} but of {family}: alm-prompt convert {family}"):
        convert_checkpoint(other, converted(family).source, tmp_path / "out", converted(family).tokenizer)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clap.base.htsat.bn0.weight", "clapcap, which writes captions"),
        ("caption_decoder.gpt.lm_head.weight", "Pengi without text encoder"),
        ("audio_model.audio_encoder.norm.weight", "whose folder from_pretrained opens as it is"),
        ("visual.proj", "of none of pengi, msclap-2022, .*its first tensor is visual.proj"),
    ],
)
def test_relatives_and_strangers_are_told_apart(name, message, convert):
    with pytest.raises(AlmPromptError, match=message):
        convert({name: torch.zeros(1)})


def test_an_unknown_family_is_refused(tmp_path):
    with pytest.raises(AlmPromptError, match="no family 'clap'; choose one of pengi, msclap-2022"):
        convert_checkpoint("clap", tmp_path / "a.pth", tmp_path / "out")


# Tensors


def without(name):
    return lambda weights: weights.pop(name)


def having(name, tensor):
    return lambda weights: weights.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("caption_encoder.projection.linear2.weight"), r"lacks the tensor text_projection\.linear2\.weight"),
        (
            without("audio_encoder.base.fc1.weight"),
            r"lacks the tensor audio_encoder\.base\.fc1\.weight, which the size",
        ),
        (without("logit_scale"), "lacks the tensor logit_scale"),
        (
            having("audio_encoder.base.conv_block3.conv3.weight", torch.zeros(1)),
            r"no place for the tensor audio_tower\.",
        ),
        (having("decoder.weight", torch.zeros(1)), r"decoder\.weight, which no part of the model takes"),
        (having("audio_encoder.projection.linear1.weight", torch.zeros(24, 21)), r"\[24, 21\] where .* \[24, 20\]"),
        (having("audio_encoder.base.batch_norm.weight", torch.ones(64)), r"audio_tower\.batch_norm\.weight .* twice"),
        (having("logit_scale", torch.tensor(float("nan"))), "tensor logit_scale of the checkpoint holds NaN"),
        (having("caption_encoder.base.embeddings.word_embeddings.weight", torch.zeros(79, 100)), "100 wide"),
    ],
)
def test_a_tensor_gone_astray_is_named(change, message, converted, convert, tmp_path):
    weights = dict(converted(FAMILY).weights)
    change(weights)
    with pytest.raises(AlmPromptError, match=rf"changed\.pth as {FAMILY}: .*{message}"):
        convert(weights)
    assert os.listdir(tmp_path) == ["changed.pth"]


def test_buffers_of_older_libraries_are_dropped(converted, convert, layouts):
    weights = dict(converted("msclap-2023").weights)
    older = layouts.Draw()
    layouts.gpt2(older, "caption_encoder.base.", 10, buffers=True)
    buffers = {name: tensor for name, tensor in older.weights.items() if name.endswith((".attn.bias", ".masked_bias"))}
    assert same_weights(convert(weights | buffers, "msclap-2023"), converted("msclap-2023").folder)


# Front end


def test_own_mel_filters_are_kept_where_they_are_not_those_of_the_recipe(converted, convert):
    weights = dict(converted(FAMILY).weights)
    name = "audio_encoder.base.logmel_extractor.melW"
    weights[name] = 1.5 * weights[name]
    folder = convert(weights)
    report = json.loads((folder / "conversion_report.json").read_text())
    assert report["mel_filters"]["stored"]
    assert report["mel_filters"]["max_difference"] == pytest.approx(weights[name].max().item() / 3, rel=1e-4)
    wave = 0.1 * torch.randn(44_100, generator=torch.Generator().manual_seed(0)).numpy()
    kept, recipe = (
        AlmProcessor.from_pretrained(path)(audio=wave, sampling_rate=44_100)["input_features"]
        for path in (folder, converted(FAMILY).folder)
    )
    torch.testing.assert_close(kept, recipe + 10 * torch.tensor(1.5).log10(), rtol=0, atol=1e-4)
    assert converted(FAMILY).report["mel_filters"]["max_difference"] < 1e-8
    assert not converted(FAMILY).report["mel_filters"]["stored"]


def test_fused_reclap_reads_the_spectrogram_of_torchaudio(converted):
    wave = 0.1 * torch.randn(480_000, generator=torch.Generator().manual_seed(0))
    mel = torchaudio.transforms.MelSpectrogram(48_000, 1024, hop_length=480, f_min=50, f_max=14_000, n_mels=64)(wave)
    expected = torchaudio.transforms.AmplitudeToDB(top_db=None)(mel).T
    processor = AlmProcessor.from_pretrained(converted("reclap").folder)
    features = processor(audio=wave.numpy(), sampling_rate=48_000)["input_features"]
    torch.testing.assert_close(features[0, 0], expected, rtol=0, atol=5e-4)


def test_fused_laion_reads_long_clips_in_views(converted, layouts, convert):
    draw = layouts.Draw()
    layouts.fusion(draw, "audio_branch.patch_embed.")
    folder = convert(converted("laion").weights | draw.weights, "laion")
    report = json.loads((folder / "conversion_report.json").read_text())
    plain = converted("laion").report
    assert report["tensors"]["written"] == plain["tensors"]["written"] + len(draw.weights)
    assert not any("fusion" in name for names in report["dropped"].values() for name in names)
    time = torch.arange(16 * 48_000) / 48_000
    clip = torch.sin(2 * torch.pi * (100 + 100 * time) * time).numpy()
    features = AlmProcessor.from_pretrained(folder)(audio=[clip, clip[: 3 * 48_000]], sampling_rate=48_000)
    assert features["input_features"].shape == (2, 4, 1001, 64)
    assert features["feature_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    model = AlmModel.from_pretrained(folder)
    with torch.no_grad():
        found = model.get_audio_features(**features)
        whole_only = model.get_audio_features(features["input_features"][:, :1])
    assert (found[0] - whole_only[0]).abs().max() > 1e-3
    torch.testing.assert_close(found[1], whole_only[1])


def test_reclap_without_fusion_reads_through_its_own_filters(converted, convert):
    weights = {
        name: t for name, t in converted("reclap").weights.items() if "mel_conv2d" not in name and "fusion" not in name
    }
    report = json.loads((convert(weights, "reclap") / "conversion_report.json").read_text())
    assert report["mel_filters"]["max_difference"] < 1e-8


# Tokenizers


def test_a_tokenizer_of_another_model_is_refused(converted, convert, tmp_path):
    with pytest.raises(
        AlmPromptError, match=r"'tokenizer' has 514 tokens, the checkpoint's text model 79; .*--tokenizer"
    ):
        convert(converted(FAMILY).weights, tokenizer=converted("pengi").tokenizer)
    with pytest.raises(AlmPromptError, match=r"nowhere' cannot be opened .*with --tokenizer"):
        convert(converted(FAMILY).weights, tokenizer=tmp_path / "nowhere")


def clip_tokenizer(folder):
    """CLIP's own tokenizer, from the list of merges of its authors."""
    import gzip

    lines = gzip.decompress((folder / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [chr(256 + number) for number in range(256 - len(printable))]
    letters = [*map(chr, printable), *others]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def gpt2_tokenizer(folder):
    lines = (folder / "gpt2_vocab.bpe").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1:] if line]
    vocabulary = json.loads((folder / "gpt2_encoder.json").read_text())
    return GPT2Tokenizer(vocab=vocabulary, merges=merges)


# What the official tokenizers make of "a photo of a cat", and of what MS-CLAP writes after it.
OFFICIAL = {
    "pengi": (clip_tokenizer, [49406, 320, 1125, 539, 320, 2368, 49407]),
    "msclap-2023": (gpt2_tokenizer, [64, 4590, 286, 257, 3797, 220, 50256]),
}


@pytest.mark.parametrize("family", OFFICIAL)
def test_official_tokenizers(family, layouts, shared_dir, convert, tmp_path, official):
    make, expected_ids = OFFICIAL[family]
    tokenizer = make(shared_dir / "tokenizers")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    weights = layouts.official_weights(family, len(tokenizer))
    folder = convert(weights, family, tmp_path / "tokenizer")
    model = AlmForAudioClassification.from_pretrained(folder)
    model.set_classes(["a cat", "wow!"], template="a photo of {}")
    (cat,), (wow,) = model.class_bank.sentence_ids
    assert cat == expected_ids
    # A literal "!", which MS-CLAP 2023 also pads with, does not move the token that the feature is read from.
    with torch.no_grad():
        embeds = model.class_bank.zero_shot_embeds(model.alm)
        features = torch.stack([official.text_features(family, weights, torch.tensor(ids)) for ids in (cat, wow)])
    torch.testing.assert_close(embeds, torch.nn.functional.normalize(features, dim=-1), rtol=0, atol=5e-6)
    together = model.tokenizer(["rain", "wow!"], padding=True)
    assert set(together) == {"input_ids", "attention_mask"}
    assert list(map(sum, together["attention_mask"])) == [
        len(tokenizer(text)["input_ids"]) for text in ("rain", "wow!")
    ]


# The output folder


def test_large_models_are_written_in_pieces(converted, convert, monkeypatch):
    monkeypatch.setattr(module, "SHARD_SIZE", "2MB")
    folder = convert(converted(FAMILY).weights)
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert same_weights(folder, converted(FAMILY).folder)


def test_a_folder_with_something_in_it_is_left_alone(converted, convert, tmp_path):
    (tmp_path / "out").mkdir()
    assert AlmModel.from_pretrained(convert(converted(FAMILY).weights))  # an empty folder is taken
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(AlmPromptError, match="out is not empty; choose another"):
        convert(converted(FAMILY).weights)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(AlmPromptError, match=r"official\.pth is a file; choose another"):
        convert_checkpoint(FAMILY, converted(FAMILY).source, converted(FAMILY).source)


def test_a_folder_that_cannot_be_written_is_named(converted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AlmPromptError, match="out cannot be written"):
        convert_checkpoint(FAMILY, converted(FAMILY).source, tmp_path / "file" / "out", converted(FAMILY).tokenizer)


def test_a_failure_leaves_nothing(converted, convert, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(AlmModel, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(converted(FAMILY).weights)
    assert os.listdir(tmp_path) == ["changed.pth"]


KILLED = """
import os, signal, sys
from alm_prompt.models import AlmModel
from alm_prompt.models.convert.checkpoint import convert_checkpoint

write = AlmModel.save_pretrained

def write_half(self, folder, **options):
    write(self, folder, **options)
    os.truncate(folder / "model.safetensors", 1_000_000)
    os.kill(os.getpid(), signal.SIGKILL)

AlmModel.save_pretrained = write_half
convert_checkpoint(*sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_that_opens(converted, tmp_path):
    source = converted(FAMILY)
    arguments = [FAMILY, str(source.source), str(tmp_path / "out"), str(source.tokenizer)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    (left_over,) = tmp_path.iterdir()
    assert left_over.name.startswith(".out.")
    with pytest.raises(Exception, match="incomplete"):
        AlmModel.from_pretrained(left_over)
    convert_checkpoint(*arguments)
    assert same_weights(tmp_path / "out", source.folder)
