"""Every method and stack: its class embeddings in a file give its logits, or there is no file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open

from alm_prompt import AlmPromptError, export_class_embeddings

# What reads the classes anew for every clip, or adds something to the cosines.
REFUSED = {
    "linear-probe": "classifies by more than cosines",
    "dept": "classifies by more than cosines",
    "cocoop": "reads the classes anew for every clip",
}


def test_exported_classes_give_the_logits(row, matrix, trained, tmp_path, audio_batch):
    path = tmp_path / "classes.safetensors"
    reason = next((text for part, text in REFUSED.items() if part in row and "no-fusion" not in row), None)
    if reason is not None:
        with pytest.raises(AlmPromptError, match=reason):
            export_class_embeddings(trained.model, path)
        assert not any(tmp_path.iterdir())
        return
    export_class_embeddings(trained.model, path)
    with safe_open(path, framework="numpy") as file:
        vectors, about = file.get_tensor("class_embeddings"), file.metadata()
    audio = audio_batch["audio_features"].numpy()
    unit = audio / np.linalg.norm(audio, axis=1, keepdims=True)
    logits = float(about["logit_scale"]) * unit @ vectors.T
    np.testing.assert_allclose(logits, trained.logits.numpy(), atol=1e-5)
    assert json.loads(about["class_names"]) == trained.model.class_names
