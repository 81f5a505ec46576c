"""Tables of several families whose laws differ by a known multiple of compute, in the shape of the reference suite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

E, A, B, ALPHA, BETA = 0.2, 60.0, 25.0, 0.42, 0.40
SIZES = tuple(np.geomspace(2.5e6, 2.5e8, 5))
BUDGETS = tuple(np.geomspace(1e14, 1e16, 5))
FAMILIES = {"PDE-SSM-DiT": 1.0, "DiT": 2.0, "Mamba-DiT": 1.3, "DiG": 1.0, "None-DiT": 4.0}
"""Times the compute that each needs for one loss."""


def law(n: np.ndarray, d: np.ndarray, times: float = 1.0, beta: float = BETA) -> np.ndarray:
    """A family that needs so many times the images of each size, and so that many times the compute, for any loss."""
    return E + A * n**-ALPHA + B * (d / times) ** -beta


def family_table(
    families: Mapping[str, float] = FAMILIES,
    noise: float = 0.004,
    together: float = 0.0,
    seed: int = 0,
    seeds: tuple[int, ...] = (3, 3, 1, 1, 1),
    betas: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Sizes x budgets of each family, with as many seeds at each budget as `seeds` says.

    Args:
        families: times the compute that each needs.
        noise: of the log-loss, of each run by itself.
        together: that all families have in common in one cell, as a seed's order of images gives it.
        seed: of the noise.
        seeds: at each budget, ascending.
        betas: of families whose law falls otherwise with images.
    """
    random, rows = np.random.default_rng(seed), []
    common = together * random.normal(size=(len(SIZES), len(BUDGETS), max(seeds)))
    for place, (family, times) in enumerate(families.items()):
        beta = (betas or {}).get(family, BETA)
        for at, flops in enumerate(BUDGETS):
            for size, n in enumerate(SIZES):
                for repeat in range(seeds[at]):
                    own = round(n * (1 + 0.02 * place))
                    d = flops / (6 * own)
                    loss = law(own, d, times, beta) * np.exp(noise * random.normal() + common[size, at, repeat])
                    rows.append((family, own, d, flops, repeat, loss))
    return pd.DataFrame(rows, columns=["family", "params", "images", "flops", "seed", "val_loss"])
