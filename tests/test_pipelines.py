"""The pipeline: the same probabilities as the model's, whatever form the clips come in."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
import transformers
from peft import get_peft_model

from alm_prompt import (
    AlmConfig,
    AlmFeatureExtractor,
    AlmForAudioClassification,
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    pipeline,
)
from alm_prompt.pipelines import PromptedAudioClassificationPipeline

RATE = 16_000
FRONT_END = {"sampling_rate": RATE, "n_fft": 512, "win_length": 512, "hop_length": 160, "n_mels": 64, "f_max": 8000.0}

YAMNET = {"model_type": "alm_yamnet", "stem_channels": 4, "channels": [6, 8], "strides": [1, 2], "hidden_size": 8}


@pytest.fixture(scope="module")
def front_end():
    return AlmFeatureExtractor(clip_seconds=0.5, **FRONT_END)


@pytest.fixture
def adapted(make_tiny_alm):
    torch.manual_seed(0)
    model = get_peft_model(make_tiny_alm(), CoCoOpPromptConfig(n_ctx=4))
    for parameter in model.class_head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def classify(adapted, front_end):
    return pipeline(model=adapted, feature_extractor=front_end)


@pytest.fixture(scope="module")
def clips():
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, length).astype(np.float32) for length in (4000, 8000, 9000)]


def by_hand(model, front_end, clip):
    """Every class with its probability, the most likely first."""
    with torch.no_grad():
        logits = model.eval()(**front_end(clip, RATE)).logits[0].double().numpy()
    weights = np.exp(logits - logits.max())
    return sorted(zip(weights / weights.sum(), model.class_names, strict=True), reverse=True)


def assert_same(answer, expected):
    assert [entry["label"] for entry in answer] == [name for _, name in expected]
    assert [entry["score"] for entry in answer] == pytest.approx([score for score, _ in expected], abs=1e-6)


def test_every_form_of_a_clip(classify, adapted, front_end, clips, tmp_path):
    expected = by_hand(adapted, front_end, clips[0])
    path = tmp_path / "some.wav"
    soundfile.write(path, clips[0], RATE, subtype="FLOAT")
    mapping = {"array": clips[0], "sampling_rate": RATE}
    for clip in (path, str(path), path.read_bytes(), clips[0], torch.from_numpy(clips[0]), clips[0][None], mapping):
        assert_same(classify(clip), expected)
    # Samples of another rate are another sound.
    assert classify(clips[0], sampling_rate=2 * RATE) == classify({"array": clips[0], "sampling_rate": 2 * RATE})
    assert classify(clips[0], sampling_rate=2 * RATE) != classify(clips[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_lists_and_batches(classify, adapted, front_end, clips, batch_size):
    expected = [by_hand(adapted, front_end, clip) for clip in clips]
    for several in (clips, (clip for clip in clips)):
        for answer, wanted in zip(classify(several, batch_size=batch_size), expected, strict=True):
            assert_same(answer, wanted)
    assert classify([]) == []


def test_batches_of_clips_of_many_patches(make_tiny_alm, clips):
    config = AlmConfig(**{**make_tiny_alm().config.to_dict(), "audio_config": YAMNET})
    model = AlmForAudioClassification(config, make_tiny_alm().tokenizer).eval()
    model.set_classes(["dog", "rain"])
    front_end = AlmFeatureExtractor(clip_seconds=None, pad="patch", patch_frames=96, patch_hop=48, **FRONT_END)
    classify = pipeline(model=model, feature_extractor=front_end)
    long = [np.tile(clip, 3 * (1 + index)) for index, clip in enumerate(clips)]
    for answer, clip in zip(classify(long, batch_size=3), long, strict=True):
        assert_same(answer, by_hand(model, front_end, clip))


def test_number_of_answers(classify, clips):
    everything = classify(clips[0], top_k=None)
    assert len(everything) == 4
    assert classify(clips[0], top_k=2) == everything[:2]
    assert classify(clips[0], top_k=50) == everything


def test_free_labels(classify, adapted, front_end, clips):
    own = adapted.class_bank
    free = {"candidate_labels": ["cat", "the rain"], "hypothesis_template": "the sound of {}"}
    answers = [
        classify(clips, **free),
        classify(clips, batch_size=2, **free),
        [classify(clip, **free) for clip in clips],
    ]
    assert adapted.class_bank is own
    adapted.set_classes(free["candidate_labels"], template=free["hypothesis_template"])
    for answer in answers:
        for entry, clip in zip(answer, clips, strict=True):
            assert_same(entry, by_hand(adapted, front_end, clip))


def test_template_alone_keeps_the_classes(make_tiny_alm, front_end, clips):
    model = make_tiny_alm()
    classify = pipeline(model=model, feature_extractor=front_end)
    answer = classify(clips[0], hypothesis_template="the {}")
    assert answer != classify(clips[0])
    model.set_classes(model.class_names, template="the {}")
    assert_same(answer, by_hand(model, front_end, clips[0]))


def test_tasks_of_transformers(classify, adapted, front_end, clips, tmp_path):
    named = transformers.pipeline("prompted-audio-classification", model=adapted, feature_extractor=front_end)
    assert named(clips) == classify(clips)
    zero_shot = pipeline("zero-shot-audio-classification", model=adapted, feature_extractor=front_end)
    labels = ["dog", "rain", "cat", "saw", "chain saw", "door bell"]
    answer = zero_shot(clips[0], candidate_labels=labels)
    assert sorted(entry["label"] for entry in answer) == sorted(labels)
    assert answer[:5] == classify(clips[0], candidate_labels=labels)
    path = tmp_path / "some.wav"
    soundfile.write(path, clips[0], RATE, subtype="FLOAT")
    theirs = transformers.pipeline(
        "zero-shot-audio-classification",
        model=adapted,
        feature_extractor=front_end,
        pipeline_class=PromptedAudioClassificationPipeline,
    )
    for ask in (zero_shot, theirs):
        for several in ([str(path), clips[0]], [path.read_bytes(), {"array": clips[0], "sampling_rate": RATE}]):
            for found in ask(several, candidate_labels=labels, batch_size=2):
                assert_same(found, [(entry["score"], entry["label"]) for entry in answer])


def test_model_is_put_into_eval_mode(adapted, front_end):
    pipeline(model=adapted.train(), feature_extractor=front_end)
    assert not adapted.training


def test_name_stays_a_function():
    """A module of the same name would take its place after the first import."""
    import alm_prompt

    assert callable(alm_prompt.pipeline)
    assert callable(alm_prompt.pipeline)


def test_dead_audio_and_bad_options(classify, adapted, clips, tmp_path):
    text = tmp_path / "note.wav"
    text.write_text("no audio")
    own = adapted.class_bank
    refused = {
        "no such audio file": lambda: classify(tmp_path / "missing.wav"),
        "http://localhost/a.wav: no such audio file": lambda: classify("http://localhost/a.wav"),
        "cannot be decoded as audio": lambda: classify([clips[0], text]),
        "audio of type float: is not audio": lambda: classify([0.5]),
        "top_k is 0": lambda: classify(clips[0], top_k=0),
        "no option 'function_to_apply'": lambda: classify(clips[0], function_to_apply="none"),
        "the list of class names is empty": lambda: classify(clips[0], candidate_labels=[]),
        "class names are the text 'dog'": lambda: classify(clips[0], candidate_labels="dog"),
        "must hold '{}' once": lambda: classify(clips[0], hypothesis_template="{0.__class__}"),
        "no pipeline for task 'fill-mask'": lambda: pipeline("fill-mask", model=adapted),
        "not with a Linear": lambda: pipeline(model=torch.nn.Linear(2, 2)),
        "no model is given": pipeline,
    }
    for message, call in refused.items():
        with pytest.raises(AlmPromptError) as error:
            call()
        assert message in str(error.value)
        assert "\n" not in str(error.value)
        assert adapted.class_bank is own


def test_classes_that_the_adapter_cannot_tell_apart(make_tiny_alm, front_end, clips):
    model = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4, class_specific=True))
    classify = pipeline(model=model, feature_extractor=front_end)
    with pytest.raises(AlmPromptError, match="cannot classify"):
        classify(clips[0], candidate_labels=["cat"])
    assert len(classify(clips[0])) == 4


def test_model_without_classes(tiny_alm, front_end, clips):
    tiny_alm.class_bank = None
    classify = pipeline(model=tiny_alm, feature_extractor=front_end)
    assert [entry["label"] for entry in classify(clips[0], candidate_labels=["dog"])] == ["dog"]
    with pytest.raises(AlmPromptError, match=r"call model.set_classes"):
        classify(clips[0])
    with pytest.raises(AlmPromptError, match="give candidate_labels"):
        classify(clips[0], hypothesis_template="the {}")


@pytest.fixture
def model_folder(make_tiny_alm, front_end, tmp_path):
    folder = tmp_path / "model"
    make_tiny_alm().save_pretrained(folder)
    front_end.save_pretrained(folder)
    return folder


def test_folders_of_a_model_and_of_an_adapter(model_folder, clips, tmp_path):
    alm = AlmForAudioClassification.from_pretrained(model_folder, class_names=["dog", "cat"])
    adapted = get_peft_model(alm, CoOpPromptConfig(n_ctx=4)).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    expected = pipeline(model=adapted)(clips)
    assert pipeline(model=tmp_path / "adapter")(clips) == expected
    assert pipeline(model=str(tmp_path / "adapter"), batch_size=2, top_k=1)(clips[0]) == expected[0][:1]
    with adapted.disable_adapter():
        zero_shot = pipeline(model=adapted)(clips)
    assert pipeline(model=model_folder)(clips, candidate_labels=["dog", "cat"]) == zero_shot != expected


def test_what_is_no_model(model_folder, tiny_alm, tmp_path):
    (tmp_path / "empty").mkdir()
    for reference in (tmp_path / "empty", tmp_path / "missing", "user/name", "https://localhost/model"):
        with pytest.raises(AlmPromptError, match="cannot be opened") as error:
            pipeline(model=reference)
        assert "\n" not in str(error.value)
    (model_folder / "preprocessor_config.json").unlink()
    with pytest.raises(AlmPromptError, match="give feature_extractor"):
        pipeline(model=AlmForAudioClassification.from_pretrained(model_folder, class_names=["dog"]))


def test_stock_pipeline_takes_the_dual_encoder(model_folder, clips):
    model = AlmForAudioClassification.from_pretrained(model_folder)
    stock = transformers.pipeline(
        "zero-shot-audio-classification",
        model=model.alm,
        tokenizer=model.tokenizer,
        feature_extractor=AlmFeatureExtractor.from_pretrained(model_folder),
    )
    options = {"candidate_labels": ["dog", "cat"], "hypothesis_template": "a {}"}
    ours = pipeline("zero-shot-audio-classification", model=model_folder)(clips[0], **options)
    assert_same(stock(clips[0], **options), [(entry["score"], entry["label"]) for entry in ours])
