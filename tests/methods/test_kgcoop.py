"""KgCoOp's anchor against a hand-written loop, with one template and with many."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmPromptError, CoOpPromptConfig, KgCoOpPromptConfig
from alm_prompt.losses import AnchorLoss
from alm_prompt.outputs import ClassHeadOutput
from alm_prompt.prompts import templates


@pytest.fixture
def audio_batch(audio_batch):
    """The batch in fp64, where a formula that is off by little is off."""
    return audio_batch | {"audio_features": audio_batch["audio_features"].double()}


def anchor_of(alm, name, sentences):
    """Normalised mean over unit text features, one sentence at a time."""
    total = torch.zeros(32, dtype=torch.float64)
    for sentence in sentences:
        ids = alm.tokenizer(sentence.replace("{}", name), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            feature = alm.alm.get_text_features(ids)[0]
        total += feature / feature.norm()
    return total / total.norm()


@pytest.mark.parametrize(
    ("anchor", "sentences"), [("template", ["This is a sound of {}."]), ("ensemble", templates())]
)
@pytest.mark.parametrize("weight", [8.0, 0.5])
def test_anchor_term_equals_a_hand_written_loop(make_tiny_alm, audio_batch, anchor, sentences, weight):
    alm = make_tiny_alm().double()
    expected_anchors = [anchor_of(alm, name, sentences) for name in alm.class_names]
    torch.manual_seed(0)
    coop = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4)).double()(**audio_batch)
    torch.manual_seed(0)
    config = KgCoOpPromptConfig(n_ctx=4, anchor=anchor, weight=weight)
    output = get_peft_model(alm, config).double()(**audio_batch)
    cosines = [torch.dot(t, a).item() for t, a in zip(coop.text_embeds, expected_anchors, strict=True)]
    assert torch.equal(output.logits, coop.logits)
    assert output.losses["anchor"].item() == pytest.approx(weight * (1 - sum(cosines) / 4), abs=1e-9)
    assert output.loss.item() == pytest.approx(coop.loss.item() + output.losses["anchor"].item(), abs=1e-9)


def test_anchor_keeps_the_adapters_template(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, KgCoOpPromptConfig(n_ctx=4)).double()
    before = model(**audio_batch).losses["anchor"]
    model.set_classes(tiny_alm.class_names, template="the sound {}")
    assert torch.equal(model(**audio_batch).losses["anchor"], before)


def test_term_is_half_the_weighted_squared_distance():
    """The paper's form on unit vectors."""
    first, second = (torch.nn.functional.normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    outputs = ClassHeadOutput(torch.empty(0), torch.empty(0), first, auxiliary={"anchor_embeds": lambda: second})
    term = AnchorLoss(8.0)(outputs, torch.empty(0), None)["anchor"]
    torch.testing.assert_close(term, 4.0 * (first - second).square().sum(-1).mean())


def test_anchor_costs_nothing_without_labels(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, KgCoOpPromptConfig(n_ctx=4, anchor="ensemble")).double()
    rows = []
    tiny_alm.alm.text_tower.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    model(audio_features=audio_batch["audio_features"])
    assert rows == [4]


@pytest.mark.parametrize(
    ("options", "message"), [({"anchor": "many"}, "anchor is 'many'"), ({"weight": -1.0}, r"weight is -1\.0")]
)
def test_bad_options_are_named(options, message):
    with pytest.raises(AlmPromptError, match=message):
        KgCoOpPromptConfig(**options)
