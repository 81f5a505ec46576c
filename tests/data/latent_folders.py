"""Folders of latents as published code bases write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

SIDE = 4
EDM2_MEAN, EDM2_STD = np.asarray([5.81, 3.25, 0.12, -2.15]), np.asarray([4.17, 4.62, 3.71, 3.28])


def write_shards(
    folder: Path,
    counts: tuple[int, ...] = (30, 20),
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    stats: bool = True,
    **changed: torch.Tensor | None,
) -> dict[str, torch.Tensor]:
    """LightningDiT's; returns what is in all shards together. `changed`: tensors of the last shard, None: not there."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    whole: dict[str, list[torch.Tensor]] = {"latents": [], "latents_flip": [], "labels": []}
    for number, count in enumerate(counts):
        z = (torch.randn((count, channels, SIDE, SIDE), generator=random) * 7 + 2).to(dtype)
        held = {"latents": z, "latents_flip": z.flip(-1) + 1, "labels": torch.arange(count) % 5}
        for name, value in held.items():
            whole[name].append(value)
        if number == len(counts) - 1:
            held = {name: value for name, value in (held | changed).items() if value is not None}
        metadata = {"total_size": f"{count}", "dtype": f"{dtype}", "device": "cpu"}
        save_file(held, folder / f"latents_rank00_shard{number:03d}.safetensors", metadata=metadata)
    made = {name: torch.cat(values) for name, values in whole.items()}
    if stats:
        z = made["latents"].float()
        said = {"mean": z.mean(dim=[0, 2, 3], keepdim=True), "std": z.std(dim=[0, 2, 3], keepdim=True)}
        torch.save(said, folder / "latents_stats.pt")
    return made


def write_tree(
    folder: Path, count: int = 50, whose: str = "REPA", labels: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """EDM2's or REPA's; returns each image's array by its file's name."""
    random = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        name = f"{number // 20:05d}/img-mean-std-{number:08d}.npy"
        mean = random.normal(size=(4, SIDE, SIDE))
        mean = mean * EDM2_STD[:, None, None] + EDM2_MEAN[:, None, None] if whose == "EDM2" else mean / 0.18215
        made[name] = np.concatenate([mean, random.uniform(0.05, 0.1, mean.shape)]).astype(np.float32)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, made[name])
    listed = [[name, number % 3] for number, name in enumerate(made)] if labels else None
    (folder / "dataset.json").write_text(json.dumps({"labels": listed}))
    return made


def write_pairs(folder: Path, count: int = 50, seed: int = 0) -> np.ndarray:
    """fast-DiT's; returns all latents."""
    made = np.random.default_rng(seed).normal(size=(count, 4, SIDE, SIDE)).astype(np.float32)
    for part in ("features", "labels"):
        (folder / f"imagenet256_{part}").mkdir(parents=True)
    for number in range(count):
        np.save(folder / "imagenet256_features" / f"{number}.npy", made[number : number + 1])
        np.save(folder / "imagenet256_labels" / f"{number}.npy", np.asarray([number % 7]))
    return made
