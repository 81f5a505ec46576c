"""What stands in for weights that no package has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pdebench.metrics import extractor_weights
from pdebench.metrics.extractor_weights import INCEPTION, INCEPTION_VARIABLE


@pytest.fixture
def untrained_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of random weights of the 2015 Inception, which is taken for the true one."""
    path = tmp_path / "inception.pth"
    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", lambda *arguments, **options: {})
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        untrained = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path="")
    torch.save(untrained.state_dict(), path)
    monkeypatch.setenv(INCEPTION_VARIABLE, str(path))
    monkeypatch.setitem(extractor_weights.SHA256, INCEPTION, extractor_weights._sha256(path))
    return path
