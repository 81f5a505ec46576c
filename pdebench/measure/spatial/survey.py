"""Every mixer of a backbone, and all of them together, measured in space: see the package for what of.

What is measured is measured in float32, or float64 where the model is, without autocast, on eight images or clips, as
the task shows them to its models, and eight random directions, which are the same for every model. Memory is that of
one mixer's training step on eight of them, or of the whole network's on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.measure.spatial.equivariance import shift_error
from pdebench.measure.spatial.findings import LARGEST_MAP, MixerFindings, NetworkFindings, Survey
from pdebench.measure.spatial.frequency import frequency_response, time_response
from pdebench.measure.spatial.impulse import leading_response
from pdebench.measure.spatial.jacobian import mixer_row, network_row, random_directions, visit_mixers
from pdebench.measure.spatial.physics import learned_physics
from pdebench.measure.spatial.receptive_field import energy_map, receptive_field
from pdebench.models.backbone import Backbone
from pdebench.models.grid import KINDS
from pdebench.models.mixers.base import Mixer
from pdebench.models.mixers.pde import PDEMixer
from pdebench.tasks.learner import Learner

SURVEYED = (2, 3)  # axes of a grid
IMAGES = 8
NETWORK_IMAGES = 4


def survey(
    model: Backbone,
    images: Tensor | None = None,
    *,
    learner: Learner,
    seed: int = 0,
    watch: Callable[[float, int], None] = lambda time, layer: None,
) -> Survey:
    """Measure a backbone in space.

    Args:
        model: in eval mode, on any device.
        images: clean images or latents (B, C, H, W), or clips (B, C, T, H, W), in the model's range, of which the first
            IMAGES are used; None: standard normal ones in their place.
        learner: the task, which shows the images to the model.
        seed: of the noise and of the random directions.
        watch: told of each time and layer before it is measured.

    Raises:
        ModelError: a response is not finite: the weights are of no use; or the model is of sequences.
    """
    grid = model.grid
    if len(grid) not in SURVEYED:
        raise ModelError(f"what a mixer does in space is measured on images and clips, not on {KINDS[len(grid)]}")
    parameter = next(model.parameters())
    generator = Generator().manual_seed(seed)
    noise = torch.randn(IMAGES, model.in_channels, *model.sides, generator=generator)
    stand_in = torch.randn(noise.shape, generator=generator)
    clean = (stand_in if images is None else images[:IMAGES].cpu()).to(parameter)
    noise = noise[: len(clean)].to(parameter)
    lengths: list[list[float | None]] = [[] for _ in model.blocks]
    found: list[MixerFindings] = []
    main = learner.times[len(learner.times) // 2]
    for time in learner.times:

        def visit(layer: int, mixer: Mixer, x: Tensor, c: Tensor | None, time: float = time) -> None:
            watch(time, layer)
            row = mixer_row(mixer, x, c, grid, random_directions(len(x), x.shape[-1], x, seed))
            energy = energy_map(row)
            if not math.isfinite(energy.sum()):
                raise ModelError(f"the mixer of layer {layer} answers with numbers that are not finite: it diverged")
            lengths[layer].append(receptive_field(energy).length)
            if time == main:
                found.append(_mixer(layer, mixer, x, c, grid, row, energy))

        visit_mixers(model, *learner.shown(clean, noise, time), visit)
    mixers = [one.model_copy(update={"lengths": lengths[one.layer]}) for one in found]
    network = _network(model, *learner.shown(clean, noise, main), seed)
    return Survey(grid=grid, times=list(learner.times), time=main, mixers=mixers, network=network)


def _mixer(
    layer: int, mixer: Mixer, x: Tensor, c: Tensor | None, grid: tuple[int, ...], row: Tensor, energy: Tensor
) -> MixerFindings:
    """All of one mixer but its mixing lengths at the other times."""
    impulse, share = leading_response(row)
    shares, clip = energy / energy.sum().clamp(min=1e-300), len(grid) == 3
    shifted = shift_error(lambda u: mixer.forward(u.flatten(1, -2), c).unflatten(1, grid), x.unflatten(1, grid))
    return MixerFindings(
        layer=layer,
        lengths=[],
        field=receptive_field(energy),
        field_map=_small(shares),
        impulse=_small(impulse),
        impulse_share=share,
        frequency=frequency_response(row),
        shift_error=shifted,
        physics=learned_physics(mixer, x, c) if isinstance(mixer, PDEMixer) else None,
        by_time=shares.sum((1, 2)).tolist() if clip else None,
        time_frequency=time_response(row) if clip else None,
    )


def _network(model: Backbone, x: Tensor, t: Tensor, seed: int) -> NetworkFindings:
    """Receptive field of all blocks together, and the shift error of the backbone as a function of images or clips."""
    x, t = x[:NETWORK_IMAGES], t[:NETWORK_IMAGES]
    directions = random_directions(len(x), model.pos_embed.shape[-1], x, seed)
    one_by_one = zip(x.split(1), t.split(1), directions.split(1), strict=True)
    rows = [network_row(model, image, time, w) for image, time, w in one_by_one]
    energy = energy_map(torch.cat(rows))

    def put_out(images: Tensor) -> Tensor:
        y = model.forward(images.movedim(-1, 1).contiguous(), t[:1].expand(len(images)))
        return y.movedim(1, -1)

    moved = {"field": model.patches, "tokens": (1,) * len(model.grid), "vector": ()}[model.head]
    return NetworkFindings(
        field=receptive_field(energy),
        field_map=_small(energy / energy.sum().clamp(min=1e-300)),
        shift_error=shift_error(put_out, x.movedim(1, -1), unit=model.patches, moved=moved),
    )


def _small(values: Tensor) -> list[list[float]]:
    """A map as lists, pooled to LARGEST_MAP; of a clip that of the centre token's frame."""
    if values.ndim == 3:
        values = values[len(values) // 2]
    h, w = (min(side, LARGEST_MAP) for side in values.shape)
    return F.adaptive_avg_pool2d(values[None].double(), (h, w))[0].tolist()  # type: ignore[no-any-return]
