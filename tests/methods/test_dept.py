"""DePT's head, its loss, its learning rate and its vote against hand-written loops."""

from __future__ import annotations

import math

import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmPromptError, CoOpPromptConfig, DePTPromptConfig, PalmPromptConfig, ZebraPromptConfig


@pytest.fixture
def make_tiny_alm(make_tiny_alm):
    """The tiny model with text features large enough to tell one class from another in the head's logits."""

    def make():
        alm = make_tiny_alm()
        torch.nn.init.normal_(alm.alm.text_projection.weight, std=0.2, generator=torch.Generator().manual_seed(4))
        return alm

    return make


@pytest.fixture
def audio_batch(audio_batch):
    """The batch in fp64, where a formula that is off by little is off."""
    return audio_batch | {"audio_features": audio_batch["audio_features"].double()}


def dept(alm, **options):
    """DePT over CoOp with head tensors far from their start, and those tensors."""
    torch.manual_seed(0)
    model = get_peft_model(alm, DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), **options)).double()
    tensors = model.base_model.model.class_head.tensors("default")
    for name, tensor in tensors.items():
        if name != "context":
            torch.nn.init.normal_(tensor, std=0.7)
    return model, tensors


def hand_head(tensors, modality, feature):
    """Logits of the head for one feature vector, one channel and class at a time."""
    adjusted = [
        s * x + b
        for s, x, b in zip(
            tensors[f"{modality}_scale"].tolist(), feature.tolist(), tensors[f"{modality}_bias"].tolist(), strict=True
        )
    ]
    rows = tensors["transfer_weight"].tolist()
    return [
        sum(w * x for w, x in zip(row, adjusted, strict=True)) + offset
        for row, offset in zip(rows, tensors["transfer_bias"].tolist(), strict=True)
    ]


def hand_cross_entropy(logits, label):
    top = max(logits)
    return math.log(sum(math.exp(value - top) for value in logits)) + top - logits[label]


def coop_reference(make_tiny_alm, audio_batch):
    """CoOp with the same context: its output and its unnormalised text features."""
    torch.manual_seed(0)
    coop = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4)).double()
    head = coop.base_model.model.class_head
    text = head.active_method.static_features(
        head.tensors("default"), coop.base_model.model.class_bank, coop.base_model.model.alm
    )
    return coop(**audio_batch), text


@pytest.mark.parametrize("fusion", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_loss_and_logits_equal_a_hand_written_loop(make_tiny_alm, audio_batch, fusion, share):
    coop, text = coop_reference(make_tiny_alm, audio_batch)
    model, tensors = dept(make_tiny_alm(), fusion=fusion, similarity_weight=share)
    output = model(**audio_batch)
    labels = audio_batch["labels"].tolist()
    head_loss = 0.0
    for row, label in enumerate(labels):
        audio_logits = hand_head(tensors, "audio", audio_batch["audio_features"][row])
        head_loss += hand_cross_entropy(audio_logits, label)
        head_loss += hand_cross_entropy(hand_head(tensors, "text", text[label]), label)
        for column in range(4):
            expected = coop.logits[row, column].item()
            if fusion:
                expected = share * expected + (1 - share) * audio_logits[column]
            assert output.logits[row, column].item() == pytest.approx(expected, abs=1e-9)
    assert output.losses["transfer"].item() == pytest.approx((1 - share) * head_loss / (2 * len(labels)), abs=1e-9)
    assert output.losses["cross_entropy"].item() == pytest.approx(share * coop.loss.item(), abs=1e-9)
    assert set(output.losses) == {"cross_entropy", "transfer"}


def test_concatenated_head_equals_a_hand_written_loop(make_tiny_alm, audio_batch):
    coop, text = coop_reference(make_tiny_alm, audio_batch)
    model, tensors = dept(make_tiny_alm(), fusion=False, head_in="concatenated", head_classes=6)
    output = model(**audio_batch)
    weight, bias = tensors["transfer_weight"].tolist(), tensors["transfer_bias"].tolist()
    assert (len(weight), len(weight[0])) == (6, 2 * text.shape[1])
    head_loss = 0.0
    for row, label in enumerate(audio_batch["labels"].tolist()):
        both = []
        for modality, feature in (("text", text[label]), ("audio", audio_batch["audio_features"][row])):
            scale, shift = tensors[f"{modality}_scale"].tolist(), tensors[f"{modality}_bias"].tolist()
            both += [s * x + b for s, x, b in zip(scale, feature.tolist(), shift, strict=True)]
        logits = [sum(w * x for w, x in zip(weight[k], both, strict=True)) + bias[k] for k in range(6)]
        head_loss += hand_cross_entropy(logits, label)
    assert output.losses["transfer"].item() == pytest.approx(0.7 * head_loss / len(audio_batch["labels"]), abs=1e-9)
    assert torch.equal(output.logits, coop.logits)


@pytest.mark.parametrize("options", [{}, {"fusion": False, "head_classes": 6}])
def test_the_same_classes_in_another_order_have_the_same_losses(make_tiny_alm, audio_batch, options):
    model, _ = dept(make_tiny_alm(), **options)
    losses = model(**audio_batch).losses
    names = model.class_names
    model.set_classes(names[::-1])
    turned = model(**audio_batch | {"labels": len(names) - 1 - audio_batch["labels"]}).losses
    torch.testing.assert_close(turned, losses)
    # Some of them are another list.
    model.set_classes(names[:2])
    assert set(model.eval()(**audio_batch | {"labels": audio_batch["labels"] % 2}).losses) == {"cross_entropy"}


def test_head_over_palm_reads_the_mixed_text_features(make_tiny_alm, audio_batch):
    torch.manual_seed(0)
    palm = get_peft_model(make_tiny_alm(), PalmPromptConfig()).double()
    mixed = palm(**audio_batch).text_embeds
    torch.manual_seed(0)
    config = DePTPromptConfig(prompt=PalmPromptConfig(), fusion=False)
    model = get_peft_model(make_tiny_alm(), config).double()
    tensors = model.base_model.model.class_head.tensors("default")
    output = model(**audio_batch)
    head_loss = 0.0
    for row, label in enumerate(audio_batch["labels"].tolist()):
        head_loss += hand_cross_entropy(hand_head(tensors, "audio", audio_batch["audio_features"][row]), label)
        head_loss += hand_cross_entropy(hand_head(tensors, "text", mixed[label]), label)
    expected = 0.7 * head_loss / (2 * len(audio_batch["labels"]))
    assert output.losses["transfer"].item() == pytest.approx(expected, abs=1e-9)


def test_loss_under_zebra_is_that_of_fused_similarities(make_tiny_alm, audio_batch):
    coop, _ = coop_reference(make_tiny_alm, audio_batch)
    zero_shot = make_tiny_alm().double()(audio_features=audio_batch["audio_features"]).logits
    torch.manual_seed(0)
    config = ZebraPromptConfig(prompt=DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)), alpha=0.2)
    model = get_peft_model(make_tiny_alm(), config).double()
    labels = audio_batch["labels"].tolist()
    # The head votes in the prediction; the cross-entropy is of the similarities, before its vote.
    fused = [
        [0.2 * prompted + 0.8 * frozen for prompted, frozen in zip(*rows, strict=True)]
        for rows in zip(coop.logits.tolist(), zero_shot.tolist(), strict=True)
    ]
    expected = 0.3 * sum(map(hand_cross_entropy, fused, labels)) / len(labels)
    assert model(**audio_batch).losses["cross_entropy"].item() == pytest.approx(expected, abs=1e-9)


def test_head_needs_an_output_per_training_class(tiny_alm):
    with pytest.raises(AlmPromptError, match="head_classes is 3, fewer than the 4 training classes"):
        get_peft_model(tiny_alm, DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), head_classes=3))
    # A file must not ask for memory without end.
    with pytest.raises(AlmPromptError, match=r"head_classes is 5000000; give .* or up to 10,000"):
        DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), head_classes=5_000_000)


def test_head_learns_faster_and_nothing_else_does(make_tiny_alm, audio_batch):
    gradients = {}
    for factor in (1.0, 6.5):
        model, tensors = dept(make_tiny_alm(), head_learning_rate_factor=factor)
        model(**audio_batch).loss.backward()
        gradients[factor] = {name: tensor.grad for name, tensor in tensors.items()}
    for name, plain in gradients[1.0].items():
        expected = plain if name == "context" else 6.5 * plain
        torch.testing.assert_close(gradients[6.5][name], expected, msg=name)


def test_other_classes_are_told_apart_by_similarity_alone(make_tiny_alm, audio_batch):
    classes = ["cat", "rain", "chain saw"]
    torch.manual_seed(0)
    coop = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4)).double()
    coop.set_classes(classes)
    expected = coop(audio_features=audio_batch["audio_features"]).logits
    model, tensors = dept(make_tiny_alm())
    model.set_classes(classes)
    output = model.eval()(audio_features=audio_batch["audio_features"], labels=audio_batch["labels"] % 3)
    assert torch.equal(output.logits[:, [0, 2]], expected[:, [0, 2]])
    vote = hand_head(tensors, "audio", audio_batch["audio_features"][0])[1]
    assert output.logits[0, 1].item() == pytest.approx(0.3 * expected[0, 1].item() + 0.7 * vote, abs=1e-9)
    assert set(output.losses) == {"cross_entropy"}


def test_autocast_leaves_the_head_its_precision(make_tiny_alm, audio_batch):
    model, features = dept(make_tiny_alm(), similarity_weight=0.0)[0].float(), audio_batch["audio_features"].float()
    votes = model(audio_features=features).logits
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(audio_features=features).logits, votes)


def test_head_starts_without_adjustment(tiny_alm):
    model = get_peft_model(tiny_alm, DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)))
    tensors = model.base_model.model.class_head.tensors("default")
    for modality in ("text", "audio"):
        assert (tensors[f"{modality}_scale"] == 1).all()
        assert (tensors[f"{modality}_bias"] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity_weight": 1.2}, r"similarity_weight is 1\.2"),
        ({"head_learning_rate_factor": 0.0}, r"head_learning_rate_factor is 0\.0"),
        ({"head_in": "both"}, "head_in is 'both'; choose stacked or concatenated"),
        ({"head_in": "concatenated"}, "head_in is 'concatenated': .* set fusion=False"),
        ({"prompt": None}, "DePTPromptConfig wraps a prompt method"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(AlmPromptError, match=message):
        DePTPromptConfig(**{"prompt": CoOpPromptConfig(), **options})
