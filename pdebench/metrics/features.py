"""Features of images, by EfficientNet-lite0 or by the 2015 Inception, through torch-fidelity's extractors.

torch-fidelity's own file cache is not used: it is keyed by names rather than by weights, and it un-pickles
what it finds. The features of a reference set are kept as safetensors instead, under a key that holds
everything they depend on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from pdebench.data.cache import cache_folder
from pdebench.data.rows import Rows
from pdebench.errors import out_of_memory
from pdebench.files import disk
from pdebench.metrics.metric import EFFICIENTNET, INCEPTION

if TYPE_CHECKING:
    pass

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

RESIZE = {
    EFFICIENTNET: "bicubic antialiased to 224",
    INCEPTION: "bilinear as in TensorFlow 1 to 299",
}
DIMENSION = {EFFICIENTNET: 1280, INCEPTION: 2048}
POOLED = {EFFICIENTNET: "pooled", INCEPTION: "2048"}
LOGITS = "logits_unbiased"  # Inception's, for the Inception score

_NAMES = {EFFICIENTNET: "pdebench-efficientnet-lite0", INCEPTION: "inception-v3-compat"}
_BATCH = {"cpu": 16, "cuda": 128}
_FORMAT = "features-1"  # part of the cache key: to be raised when anything else than the key changes the features


class EfficientNetLite0(FeatureExtractorBase):  # type: ignore[misc]
    """The 1,280 globally averaged features before the classifier of EfficientNet-lite0 (ImageNet weights).

    Takes (B, 3, H, W) uint8 of any size and gives a tuple of one (B, 1280) float32 tensor. Pixels are scaled
    as in the model's TensorFlow release: (x - 127) / 128.
    """

    SIZE = 224

    def __init__(
        self,
        name: str,
        features_list: list[str],
        *,
        feature_extractor_weights_path: str,
        **kwargs: object,
    ) -> None:
        super().__init__(name, features_list)
        from efficientnet_lite_pytorch import EfficientNet

        self.model = EfficientNet.from_name("efficientnet-lite0")
        self.model.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))
        self.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """Features of uint8 images, (B, 3, H, W) -> (B, 1280)."""
        return (self.model.extract_features(self._prepared(input)).mean(dim=(2, 3)),)

    def classify(self, input: Tensor) -> Tensor:
        """ImageNet logits, (B, 3, H, W) uint8 -> (B, 1000): shows that weights and scaling fit."""
        logits: Tensor = self.model(self._prepared(input))
        return logits

    def _prepared(self, images: Tensor) -> Tensor:
        require_uint8(images)
        resized = interpolate(
            images.float(), (self.SIZE, self.SIZE), mode="bicubic", align_corners=False, antialias=True
        )
        scaled = (resized.clamp(0, 255) - 127.0) / 128.0  # a bicubic filter overshoots
        return scaled.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Names of the features, as torch-fidelity asks for them."""
        return ("pooled",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The one feature serves each metric."""
        return "pooled"

    @staticmethod
    def can_be_compiled() -> bool:
        """Not worth it for a set of some thousand images."""
        return False


if _NAMES[EFFICIENTNET] not in FEATURE_EXTRACTORS_REGISTRY:
    register_feature_extractor(_NAMES[EFFICIENTNET], EfficientNetLite0)


def require_uint8(images: Tensor | Rows) -> None:
    """Refuse anything but (N, 3, H, W) of 0..255: of floats an extractor silently makes wrong features."""
    if images.dtype not in (torch.uint8, np.uint8):
        raise TypeError(f"images must be uint8 with values 0..255, not {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be of shape (N, 3, H, W), not {tuple(images.shape)}")


class Extractor:
    """One network on one device, built when the first features are asked for.

    `weights` is a verified file; its sha256 enters the key of what is cached.
    """

    def __init__(self, kind: str, weights: Path, weights_sha256: str, device: torch.device) -> None:
        self.kind, self.weights, self.weights_sha256, self.device = kind, weights, weights_sha256, device
        self._network: FeatureExtractorBase | None = None

    def features(self, images: Tensor | Rows) -> dict[str, Tensor]:
        """Features of uint8 (N, 3, H, W) images, each (N, ...) float32 on the CPU, by the layer's name."""
        require_uint8(images)
        cuda = self.device.type == "cuda"
        with self._steady():
            if self._network is None:
                self._network = self._build(cuda)
            features: dict[str, Tensor] = get_featuresdict_from_dataset(
                _Images(images),
                self._network,
                _BATCH["cuda" if cuda else "cpu"],
                cuda,
                save_cpu_ram=True,
                verbose=False,
            )
        return features

    def reference_features(self, images: Tensor | Rows, checksum: str) -> Tensor:
        """Pooled features (M, D) of a reference set of that content checksum, through the cache."""
        require_uint8(images)
        key = [_FORMAT, self.kind, self.weights_sha256, RESIZE[self.kind], checksum, list(images.shape)]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        path = cache_folder() / f"features-{self.kind}-{digest}.safetensors"
        shape = (len(images), DIMENSION[self.kind])
        if (kept := _read(path, shape)) is not None:
            return kept
        features = self.features(images)[POOLED[self.kind]]
        with contextlib.suppress(OSError, MemoryError):  # a cache that cannot be written costs time, not a result
            _write(path, features)
        return features

    def _build(self, cuda: bool) -> FeatureExtractorBase:
        source: object = str(self.weights)
        layers = [POOLED[self.kind]]
        if self.kind == INCEPTION:
            # torch-fidelity would un-pickle anything: what it gets is a copy of the tensors alone.
            source = io.BytesIO()
            torch.save(torch.load(self.weights, map_location="cpu", weights_only=True), source)
            source.seek(0)
            layers.append(LOGITS)
        with contextlib.redirect_stdout(io.StringIO()):
            return create_feature_extractor(
                _NAMES[self.kind], layers, cuda=cuda, feature_extractor_weights_path=source, verbose=False
            )

    @contextlib.contextmanager
    def _steady(self) -> Iterator[None]:
        """Full fp32, the same algorithms each time, the caller's random state untouched, nothing printed."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(torch.random.fork_rng(devices=[]))  # a data loader draws a seed
            stack.enter_context(torch.autocast(self.device.type, enabled=False))
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.device(self.device))  # torch-fidelity moves to the current one
                stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
            yield


class _Images(Dataset[Tensor]):
    """Images one by one, whatever holds them; a read-only memory map is copied an image at a time."""

    def __init__(self, images: Tensor | Rows) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index]
        return image.cpu() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))


def _digest(path: Path, features: Tensor) -> str:
    """Of an entry's content and of the name that it is to have."""
    found = hashlib.sha256(f"{path.name} {tuple(features.shape)} ".encode())
    found.update(np.ascontiguousarray(features.numpy()).data)
    return found.hexdigest()


def _read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The features kept at `path`, or None where they are absent, truncated or altered."""
    try:
        disk.open_plain(path).close()
        with safe_open(path, framework="pt") as stored:
            features: Tensor = stored.get_tensor("features")
            digest = (stored.metadata() or {}).get("sha256")
    except Exception as error:  # whatever was made of the file, they are computed again
        if out_of_memory(error):
            raise
        return None
    whole = features.shape == shape and features.dtype == torch.float32 and _digest(path, features) == digest
    return features if whole else None


def _write(path: Path, features: Tensor) -> None:
    """Keep features; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.replacing(path) as file:
        file.write(safetensors.torch.save({"features": features.contiguous()}, {"sha256": _digest(path, features)}))
