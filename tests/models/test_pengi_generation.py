"""Pengi: its prefix and its beam search against loops written from the publication, and what it reads and writes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoProcessor, GPT2Config, GPT2Tokenizer, PreTrainedTokenizerFast

from alm_prompt import (
    AlmFeatureExtractor,
    AlmModel,
    AlmPromptError,
    PengiConfig,
    PengiForConditionalGeneration,
    PengiProcessor,
)
from alm_prompt.models.pengi.beam_search import beam_search

STOP, PAD, PREFIX = 7, 1, 3
PROMPTS = torch.tensor([[2, 5, 6, 3], [2, 8, 3, 0]])
PROMPT_MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
# Text that the decoder goes on from, padded on the left, and text that it learns.
BEGUN, TARGET = torch.tensor([[PAD, PAD, 4], [9, 12, 5]]), torch.tensor([[4, PAD, PAD], [9, 12, 5]])
BEGUN_MASK, TARGET_MASK = (BEGUN != PAD).long(), (TARGET != PAD).long()


@pytest.fixture(scope="module")
def pengi(make_tiny_alm):
    """A tiny model in float64 whose texts depend on what it is given."""
    decoder = GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0)
    config = PengiConfig(make_tiny_alm().config, decoder, PREFIX, 2, 4, eos_token_id=STOP, pad_token_id=PAD)
    model = PengiForConditionalGeneration(config).double().eval()
    with torch.random.fork_rng():
        torch.manual_seed(30)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def clips():
    return torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture(scope="module")
def asked(clips):
    return {"input_features": clips, "input_ids": PROMPTS, "attention_mask": PROMPT_MASK}


# The published structure


def official_names(mapper):
    return {name.replace("layers.", "transformer.layers."): tensor for name, tensor in mapper.state_dict().items()}


@torch.no_grad()
def test_the_prefix_is_the_published_one(pengi, asked, clips):
    official = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("convert") / "official.py")))
    audio = pengi.alm.get_audio_features(clips)
    text = pengi.alm.get_text_features(PROMPTS, PROMPT_MASK)
    expected = torch.stack(
        [
            torch.cat(
                [
                    official.pengi_prefix(official_names(pengi.audio_mapper), audio[clip], heads=4),
                    official.pengi_prefix(official_names(pengi.text_mapper), text[clip], heads=4),
                ]
            )
            for clip in range(2)
        ]
    )
    assert expected.shape == (2, 2 * PREFIX, 16)
    torch.testing.assert_close(pengi.get_prefix(**asked), expected, rtol=0, atol=1e-12)
    one_prompt = pengi.get_prefix(clips, PROMPTS[:1])
    torch.testing.assert_close(one_prompt, pengi.get_prefix(clips, PROMPTS[[0, 0]]), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_loss_is_that_of_predicting_each_label_from_what_stands_before_it(pengi, asked):
    prefix, table = pengi.get_prefix(**asked), pengi.decoder.transformer.wte.weight
    terms = []
    for clip in range(2):
        text = TARGET[clip][TARGET_MASK[clip].bool()]
        for place, token in enumerate(text):
            seen = torch.cat([prefix[clip], table[text[:place]]])
            terms.append(-pengi.decoder(inputs_embeds=seen[None]).logits[0, -1].log_softmax(0)[token])
    text = {"decoder_input_ids": TARGET, "decoder_attention_mask": TARGET_MASK}
    labels = TARGET.masked_fill(TARGET_MASK == 0, -100)
    output = pengi(**asked, **text, labels=labels)
    # The cross-entropy of `transformers` is always in float32.
    torch.testing.assert_close(output.loss.double(), torch.stack(terms).mean(), rtol=0, atol=1e-6)
    assert output.logits.shape == (2, 2 * PREFIX + 3, 20)
    shared = pengi(**asked, **text, labels=labels, num_items_in_batch=8).loss
    torch.testing.assert_close(shared.double(), torch.stack(terms).sum() / 8, rtol=0, atol=1e-6)


# Writing


def continued(pengi, asked):
    """Input embeddings `[P, width]` of every clip: prefix, then the text begun."""
    prefix, table = pengi.get_prefix(**asked), pengi.decoder.transformer.wte.weight
    return [torch.cat([prefix[clip], table[BEGUN[clip][BEGUN_MASK[clip].bool()]]]) for clip in range(2)]


def log_probs(pengi, start, text, temperature=1.0):
    embeds = torch.cat([start, pengi.decoder.transformer.wte.weight[torch.tensor(text, dtype=torch.long)]])
    return (pengi.decoder(inputs_embeds=embeds[None]).logits[0, -1] / temperature).log_softmax(0)


@torch.no_grad()
def test_padding_of_the_text_begun_changes_nothing(pengi, asked):
    logits = pengi(**asked, decoder_input_ids=BEGUN, decoder_attention_mask=BEGUN_MASK).logits[:, -1]
    expected = torch.stack([log_probs(pengi, start, []) for start in continued(pengi, asked)])
    torch.testing.assert_close(logits.log_softmax(1), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_greedy_writing_takes_the_likeliest_token_each_time(pengi, asked):
    written = pengi.generate(
        **asked, decoder_input_ids=BEGUN, decoder_attention_mask=BEGUN_MASK, num_beams=1, max_new_tokens=9
    )
    for row, start in zip(written, continued(pengi, asked), strict=True):
        text = []
        while len(text) < 9 and text[-1:] != [STOP]:
            text.append(log_probs(pengi, start, text).argmax().item())
        assert row[: len(text)].tolist() == text
        assert set(row[len(text) :].tolist()) <= {PAD}


def best_by_mean(pengi, start, beams, longest, temperature):
    """The official beam search over lists: candidates of every step ranked by mean log-probability."""
    kept = [([], 0.0)]
    for _ in range(longest):
        candidates = []
        for text, total in kept:
            if text[-1:] == [STOP]:
                candidates.append((total / len(text), text, total))
                continue
            for token, score in enumerate(log_probs(pengi, start, text, temperature).tolist()):
                candidates.append(((total + score) / (len(text) + 1), [*text, token], total + score))
        candidates.sort(key=lambda candidate: -candidate[0])
        kept = [(text, total) for _, text, total in candidates[:beams]]
        if all(text[-1] == STOP for text, _ in kept):
            break
    return kept


@torch.no_grad()
def test_the_official_beam_search(pengi, asked):
    begun = {"decoder_input_ids": BEGUN, "decoder_attention_mask": BEGUN_MASK}
    stopped = differing = 0
    for beams, temperature in ((1, 1.0), (2, 1.0), (3, 1.0), (5, 1.0), (3, 2.5), (5, 2.5), (8, 4.0)):
        options = {"num_beams": beams, "max_new_tokens": 8}
        written = pengi.generate(**asked, **begun, **options, beam_rule="official", temperature=temperature)
        expected = []
        for start in continued(pengi, asked):
            kept = best_by_mean(pengi, start, beams, 8, temperature)
            texts, means = beam_search(pengi.decoder, start[None], beams, 8, temperature, STOP, PAD)
            assert [text.tolist() for text in texts] == [text for text, _ in kept]
            assert means.tolist() == pytest.approx([total / len(text) for text, total in kept], abs=1e-10)
            expected.append(kept[0][0])
        for row, text in zip(written.tolist(), expected, strict=True):
            assert row == text + [PAD] * (len(row) - len(text))
            stopped += text[-1] == STOP
        if temperature == 1:
            ranked_by_sum = pengi.generate(**asked, **begun, **options)
            differing += [
                row[: len(text)].tolist() for row, text in zip(ranked_by_sum, expected, strict=True)
            ] != expected
    assert stopped and differing, "texts must stop, and differ between the rules, for this test to mean anything"


def test_defaults_are_those_of_the_published_example(pengi, asked):
    assert (pengi.generation_config.num_beams, pengi.generation_config.max_new_tokens) == (3, 30)
    assert pengi.generate(**asked).shape[1] <= 30
    for rule in ("transformers", "official"):
        explicit = pengi.generate(**asked, beam_rule=rule, num_beams=3, max_new_tokens=30)
        assert torch.equal(pengi.generate(**asked, beam_rule=rule), explicit)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": None}, "no prompt: give input_ids"),
        ({"input_features": None}, "no audio: give input_features"),
        ({"input_ids": torch.full((1, 33), 5), "attention_mask": None}, "33 tokens, Pengi reads 32"),
        ({"input_ids": PROMPTS[[0, 1, 0]]}, "3 prompts for 2 clips"),
        ({"decoder_input_ids": BEGUN[:1]}, "1 texts in decoder_input_ids for 2 clips"),
        ({"decoder_input_ids": TARGET, "decoder_attention_mask": TARGET_MASK}, "padded on the right"),
        ({"max_new_tokens": 60}, "max_new_tokens=60 exceed the 58 positions"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"beam_rule": "best"}, "beam_rule is 'best'; choose one of transformers, official"),
        ({"beam_rule": "official", "do_sample": True}, "has no option 'do_sample'"),
        ({"beam_rule": "official", "temperature": -1.0}, "temperature is -1.0"),
    ],
)
def test_bad_requests_are_refused_in_one_line(given, message, pengi, asked):
    with pytest.raises(AlmPromptError, match=message) as refusal:
        pengi.generate(**asked | given)
    assert "\n" not in str(refusal.value)


def test_labels_without_their_text_are_refused(pengi, asked):
    with pytest.raises(AlmPromptError, match=r"labels have shape \[2, 3\], decoder_input_ids None"):
        pengi(**asked, labels=BEGUN)
    with pytest.raises(AlmPromptError, match="padded on the left, where labels are predicted"):
        pengi(**asked, decoder_input_ids=BEGUN, decoder_attention_mask=BEGUN_MASK, labels=BEGUN)


# On disk


@pytest.fixture
def processor(make_tiny_alm):
    vocabulary = {token: number for number, token in enumerate(["<|endoftext|>", "Ġ", "a", "b", "<unk>"])}
    letters = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")), eos_token="<|endoftext|>"
    )
    return PengiProcessor(AlmFeatureExtractor(), make_tiny_alm().tokenizer, letters)


def test_models_are_saved_and_opened_bitwise(pengi, asked, tmp_path):
    pengi.save_pretrained(tmp_path)
    opened = PengiForConditionalGeneration.from_pretrained(tmp_path, dtype="auto")
    weights = pengi.state_dict()
    assert opened.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in opened.state_dict().items())
    assert opened.decoder.lm_head.weight is opened.decoder.transformer.wte.weight
    assert torch.equal(opened.generate(**asked), pengi.generate(**asked))
    with pytest.raises(AlmPromptError, match="type 'alm_pengi'"):
        AlmModel.from_pretrained(tmp_path)


def test_other_models_do_not_write(make_tiny_alm, tmp_path):
    make_tiny_alm().save_pretrained(tmp_path)
    with pytest.raises(AlmPromptError, match=r"type 'alm', which writes no text; .*--generation"):
        PengiForConditionalGeneration.from_pretrained(tmp_path)


def test_the_processor_has_a_tokenizer_for_each_side(processor, pengi, tmp_path):
    processor.save_pretrained(tmp_path)
    pengi.config.save_pretrained(tmp_path)
    opened = AutoProcessor.from_pretrained(tmp_path)
    assert type(opened) is PengiProcessor
    batch = opened(text="dog", decoder_text=["a", "b"])
    assert batch["input_ids"].tolist() == processor.tokenizer(["dog"])["input_ids"]
    assert batch["decoder_input_ids"].tolist() == [[2], [3]]
    with pytest.raises(AlmPromptError, match="decoder_text and text_target exclude each other"):
        opened(text="dog", decoder_text="a", text_target="b")
    assert opened.batch_decode(torch.tensor([[2, 1, 0], [3, 0, 0]])) == ["a Ġ", "b"]
    (tmp_path / "decoder_tokenizer").rename(tmp_path / "elsewhere")
    with pytest.raises(AlmPromptError, match=r"holds no tokenizer in decoder_tokenizer, .*--generation"):
        PengiProcessor.from_pretrained(tmp_path)


def test_writing_stops_at_the_bare_space_of_gpt2(processor, shared_dir):
    folder = shared_dir / "tokenizers"
    merges = [tuple(line.split()) for line in (folder / "gpt2_vocab.bpe").read_text().split("\n")[1:] if line]
    tokenizer = GPT2Tokenizer(vocab=json.loads((folder / "gpt2_encoder.json").read_text()), merges=merges)
    official = PengiProcessor(processor.feature_extractor, processor.tokenizer, tokenizer)
    assert official.stopping_ids == {"eos_token_id": 220, "pad_token_id": 50256}
    config = PengiConfig()
    assert (config.eos_token_id, config.pad_token_id) == (220, 50256)
    texts = official(text="dog", decoder_text=["a dog barks", "rain"])
    assert texts["decoder_attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    labels = official(text="dog", text_target=["a dog", "rain"])["labels"].tolist()
    assert labels == [[64, 3290, 220, 50256], [tokenizer("rain")["input_ids"][0], 220, 50256, -100]]
    written = torch.tensor([[*tokenizer(" a dog barks")["input_ids"], 220, 50256, 50256]])
    assert official.batch_decode(written) == ["a dog barks"]
