"""Features of images, by the networks of `pdebench.metrics.networks`, and the Gaussians of them.

Images go through a network some at a time, and of what it answers only that is kept which is asked for: of a Fréchet
distance a mean and a covariance. Features and Gaussians of a reference are kept in the cache, under a key that holds
everything they depend on.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pdebench.data.rows import Rows
from pdebench.metrics import kept
from pdebench.metrics.extractor_weights import Weights
from pdebench.metrics.gaussian import FeatureSums, Gaussian
from pdebench.metrics.metric import DIMENSIONS, DINOV2, EFFICIENTNET, I3D, INCEPTION, POOLED
from pdebench.metrics.networks.dinov2 import DinoV2
from pdebench.metrics.networks.efficientnet import EfficientNetLite0
from pdebench.metrics.networks.i3d import Inflated3D
from pdebench.metrics.networks.inception import Inception

Images = Tensor | Rows

RESIZE = {
    EFFICIENTNET: "bicubic antialiased to 224",
    INCEPTION: "bilinear as in TensorFlow 1 to 299",
    DINOV2: "bicubic antialiased to 224",
    I3D: "the network's own, to 224",
}
_NETWORKS: dict[str, Callable[[Path], nn.Module]] = {
    EFFICIENTNET: EfficientNetLite0,
    INCEPTION: Inception,
    DINOV2: DinoV2,
    I3D: Inflated3D,
}
_READ = 256  # images: several are decoded at once, where they are decoded when they are read
_BATCH = {"cpu": 16, "cuda": 128}
_READ_CLIPS, _BATCH_CLIPS = 16, {"cpu": 2, "cuda": 16}
_FORMAT = "features-2"  # part of the cache key: to be raised when anything else than the key changes the features


def require_uint8(images: Images, *, clips: bool = False) -> None:
    """Refuse anything but (N, 3, H, W) or (N, 3, T, H, W) of 0..255: of floats an extractor makes wrong features."""
    if images.dtype not in (torch.uint8, np.uint8):
        raise TypeError(f"images must be uint8 with values 0..255, not {images.dtype}")
    if images.ndim != 4 + clips or images.shape[1] != 3:
        wanted = "clips must be of shape (N, 3, T, H, W)" if clips else "images must be of shape (N, 3, H, W)"
        raise ValueError(f"{wanted}, not {tuple(images.shape)}")


class Extractor:
    """One network on one device, built when the first features are asked for; what it takes are clips where `clips`.

    `weights` is a verified file; its sha256 enters the key of what is cached.
    """

    def __init__(self, kind: str, weights: Weights, device: torch.device) -> None:
        self.kind, self.weights, self.device = kind, weights, device
        self.clips = kind == I3D
        self._network: nn.Module | None = None

    def features(self, images: Images, layers: Collection[str] = (POOLED,)) -> dict[str, Tensor]:
        """Features of uint8 (N, 3, H, W) images, each (N, D) float32 on the CPU, by the layer's name."""
        return self.passed(images, features=layers, statistics=())[0]

    def passed(
        self, images: Images, *, features: Collection[str], statistics: Collection[str]
    ) -> tuple[dict[str, Tensor], dict[str, Gaussian]]:
        """What one pass over uint8 (N, 3, H, W) images gives, by the layer's name.

        Args:
            images: read some at a time.
            features: layers whose features are kept, each (N, D) float32 on the CPU.
            statistics: layers whose features are summed up in a Gaussian as they come.
        """
        require_uint8(images, clips=self.clips)
        dimensions = DIMENSIONS[self.kind]
        whole = {layer: torch.empty(len(images), dimensions[layer]) for layer in features}
        moments = {layer: FeatureSums(dimensions[layer]) for layer in statistics}
        at = 0
        for batch in self._batches(images, {*features, *statistics}):
            count = len(next(iter(batch.values())))
            for layer, rows in batch.items():
                if layer in whole:
                    whole[layer][at : at + count] = rows
                if layer in moments:
                    moments[layer].add(rows)
            at += count
        return whole, {layer: one.gaussian() for layer, one in moments.items()}

    def of_reference(
        self, images: Images, checksum: str, *, features: Collection[str], statistics: Collection[str]
    ) -> tuple[dict[str, Tensor], dict[str, Gaussian]]:
        """As `passed`, of a reference set of that content checksum, through the cache."""
        require_uint8(images, clips=self.clips)
        dimensions = DIMENSIONS[self.kind]
        key = [_FORMAT, self.kind, self.weights.sha256, RESIZE[self.kind], checksum, list(images.shape)]
        found: dict[str, Tensor] = {}
        summed: dict[str, Gaussian] = {}
        for layer in features:
            shapes: kept.Shapes = {"features": (len(images), dimensions[layer])}
            if stored := kept.read(_path("features", self.kind, layer, key), shapes, torch.float32):
                found[layer] = stored["features"]
        for layer in statistics:
            side = dimensions[layer]
            shapes = {"mean": (side,), "covariance": (side, side)}
            if stored := kept.read(_path("statistics", self.kind, layer, key), shapes, torch.float64):
                summed[layer] = Gaussian(stored["mean"].numpy(), stored["covariance"].numpy(), len(images))
        lacking, unsummed = set(features) - set(found), set(statistics) - set(summed)
        if lacking or unsummed:
            more, sums = self.passed(images, features=lacking, statistics=unsummed)
            for layer, rows in more.items():
                kept.write(_path("features", self.kind, layer, key), {"features": rows})
            for layer, one in sums.items():
                tensors = {"mean": torch.from_numpy(one.mean), "covariance": torch.from_numpy(one.covariance)}
                kept.write(_path("statistics", self.kind, layer, key), tensors)
            found |= more
            summed |= sums
        return found, summed

    def _batches(self, images: Images, layers: Collection[str]) -> Iterator[dict[str, Tensor]]:
        """Features (n, D) on the CPU of one batch after another, in the order of the images."""
        read, batches = (_READ_CLIPS, _BATCH_CLIPS) if self.clips else (_READ, _BATCH)
        for begin in range(0, len(images), read):
            some = images[begin : begin + read]
            if not isinstance(some, Tensor):
                some = torch.from_numpy(np.array(some))  # a read-only memory map is copied
            for batch in some.split(batches.get(self.device.type, batches["cpu"])):
                with self._steady(), torch.no_grad():
                    if self._network is None:
                        self._network = self._build()
                    found = self._network(batch.to(self.device), layers)
                yield {layer: rows.float().cpu() for layer, rows in found.items()}

    def _build(self) -> nn.Module:
        """The network with its weights, ready to be asked."""
        network = _NETWORKS[self.kind](self.weights.path)
        return network.requires_grad_(False).eval().to(self.device)

    @contextlib.contextmanager
    def _steady(self) -> Iterator[None]:
        """Full fp32, the same algorithms each time, the caller's random state untouched, nothing warned of."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(torch.random.fork_rng(devices=[]))  # networks are initialised before they are loaded
            stack.enter_context(torch.autocast(self.device.type, enabled=False))
            if self.device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
            yield


def _path(what: str, kind: str, layer: str, key: Sequence[object]) -> Path:
    name = f"{what}-{kind}" if layer == POOLED else f"{what}-{kind}-{layer}"
    return kept.path_of(name, [*key, layer])
