"""A mixer or a block by itself: what it keeps, and that its time is a time."""

from typing import Literal

import pytest
import torch
from torch import nn

from pdebench.measure.parts import LEAST, measure_part
from pdebench.measure.saved_activations import saved_bytes
from pdebench.models.backbone import create_model

CPU = torch.device("cpu")
BATCH, WIDTH, TOKENS = 16, 128, 256
INPUT = BATCH * TOKENS * WIDTH * 4  # bytes


def test_what_is_held_is_what_a_backward_pass_needs() -> None:
    first, second = nn.Linear(8, 32), nn.Linear(32, 4)
    x = torch.randn(5, 8, requires_grad=True)

    def forward() -> torch.Tensor:
        return second(first(x).sigmoid())  # type: ignore[no-any-return]

    # the input of the first layer, and the output of the sigmoid, which is the second's input too
    assert saved_bytes(forward, nn.ModuleList([first, second])) == 4 * (5 * 8 + 5 * 32)


def test_the_pde_mixer_holds_its_input_a_spectrum_and_its_output() -> None:
    """Three tensors of the size of the input; beside them only the symbol, which the batch shares."""
    row, _ = _measured("PDE-SSM-DiT", "mixer")
    symbol = 3 * 128 * TOKENS * 8  # the full one, and the half ones that it is made of
    assert 2 * INPUT < row["mixer_held_bytes"] <= 3 * INPUT + symbol


def test_a_block_holds_more_than_its_mixer_and_takes_longer() -> None:
    mixer, _ = _measured("DiT", "mixer")
    block, samples = _measured("DiT", "block")
    assert block["block_held_bytes"] > mixer["mixer_held_bytes"] > INPUT
    assert len(samples) == block["block_ms_n"] >= LEAST
    assert block["block_ms_q1"] <= block["block_ms_median"] <= block["block_ms_q3"]
    assert block["block_images_per_s"] == pytest.approx(BATCH / (block["block_ms_median"] / 1000))


def _measured(family: str, part: str) -> tuple[dict[str, float], list[float]]:
    with torch.device("cpu"):
        model = create_model(f"{family}-XXS/2", input_size=32, depth=1, num_classes=None)
    return measure_part(part, model, batch_size=BATCH, precision="fp32", device=CPU, seconds=0.05)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["mixer", "block"])
def test_blocks_of_two_kinds_are_a_mean_of_both(part: Literal["mixer", "block"]) -> None:
    """Attention within frames and through time: what is kept, and which weights work, is of one block of each."""
    clip = {"input_size": (4, 8, 8), "depth": 4, "num_classes": None}
    model = create_model("DiT-XXS/4", attention="factorised", **clip)
    counts = [0, 0]
    for layer in (0, 1):

        def count(*_: object, layer: int = layer) -> None:
            counts[layer] += 1

        model.blocks[layer].mixer.register_forward_hook(count)  # type: ignore[union-attr]
    row, passes = measure_part(part, model, batch_size=2, precision="fp32", device=CPU, seconds=0.01)
    full, _ = measure_part(
        part, create_model("DiT-XXS/4", **clip), batch_size=2, precision="fp32", device=CPU, seconds=0.01
    )
    assert counts[0] == counts[1] > 0
    assert row[f"{part}_ms_median"] == pytest.approx(1000 * sorted(passes)[len(passes) // 2], rel=0.5)
    assert row[f"{part}_held_bytes"] == pytest.approx(full[f"{part}_held_bytes"], rel=0.2), "of one block, not of two"
