"""Autoencoders of images, by diffusers: to latents, and back to images of 8 bits.

Of a variational one the encoder's mean and log-variance are kept, so that latents can be drawn. What scale and shift
make latents of unit variance, its configuration says. diffusers is imported where one is loaded, which takes seconds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pdebench.data.space import Space
from pdebench.errors import ModelError
from pdebench.installing import install_extra

KINDS = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny")


@dataclass(frozen=True)
class Autoencoder:
    """One on a device.

    Attributes:
        where: the folder or the hub's name that it is from.
        network: diffusers', in eval mode.
        space: of its latents, as its configuration has it.
        sha256: of its weights and configuration.
    """

    where: str
    network: nn.Module
    space: Space
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 images (B, 3, H, W) to rows of `space`, float32 on the host: (B, 2 C, h, w), or (B, C, h, w)."""
        x = pixels.to(self.device).float().div_(127.5).sub_(1)
        found: Any = self.network.encode(x)  # type: ignore[operator]
        if self.space.spread:
            rows = torch.cat([found.latent_dist.mean, found.latent_dist.logvar], 1)
        else:
            rows = found.latent if hasattr(found, "latent") else found.latents
        return rows.float().cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor, black: float = -1.0) -> Tensor:
        """Latents (B, C, h, w), neither scaled nor shifted, to uint8 images (B, 3, H, W) on the host.

        Rounded and clipped, as pixels are wherever else images are made. `black` is what it gives for black, white
        being 1.
        """
        found: Tensor = self.network.decode(latents.to(self.device).float()).sample  # type: ignore[operator]
        return found.float().sub(black).mul_(255 / (1 - black)).round_().clamp_(0, 255).to(torch.uint8).cpu()


def load(where: str, device: torch.device, *, download: bool = False) -> Autoencoder:
    """An autoencoder from a folder, or by its name on the hub.

    Args:
        where: a folder that `save_pretrained` wrote, or a name on the hub, whose files were fetched before.
        device: where it shall be.
        download: fetch it where it is not there.

    Raises:
        ModelError: diffusers is not installed, or it is not there, or none of `KINDS`.
    """
    try:
        import diffusers
    except ImportError:
        raise ModelError(f"an autoencoder of latents needs the package diffusers: {install_extra('latents')}") from None
    folder = Path(where).expanduser()
    from_hub: dict[str, Any] = {} if folder.is_dir() else {"local_files_only": not download}
    name = str(folder) if folder.is_dir() else where
    try:
        config: dict[str, Any] = diffusers.AutoencoderKL.load_config(name, **from_hub)
        kind = config.get("_class_name")
        if kind not in KINDS:
            raise ModelError(f"{where} is of the class {kind}: take one of {', '.join(KINDS)}")
        network: nn.Module = getattr(diffusers, kind).from_pretrained(name, **from_hub, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        hint = "" if folder.is_dir() else "; give a folder, or let `pdebench data encode --download` fetch it"
        raise ModelError(f"there is no autoencoder that can be loaded at {where} ({said}){hint}") from None
    return Autoencoder(where, network.eval().requires_grad_(False).to(device), _space(where, config), _digest(network))


def _space(where: str, config: dict[str, Any]) -> Space:
    """`(z - mean) * scaling_factor / std` where a mean and a std are given, as diffusers' pipelines have it."""
    factor = float(config.get("scaling_factor") or 1.0)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        shift, scale = tuple(map(float, mean)), tuple(factor / float(one) for one in std)
    else:
        shift, scale = (float(config.get("shift_factor") or 0.0),), (factor,)
    return Space(shift, scale, "logvar" if config["_class_name"] == "AutoencoderKL" else None, where)


def _digest(network: nn.Module) -> str:
    config = json.dumps({k: v for k, v in dict(network.config).items() if k[0] != "_"}, sort_keys=True, default=str)  # type: ignore[arg-type]
    found = hashlib.sha256(config.encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()
