"""Flow matching and its samplers, against flows whose solution is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.pixels import to_model, to_pixels
from pdebench.tasks.generation.solver import sample


class Velocity(nn.Module):
    """A given function of (x, t in [0, 1], y) as the network, which remembers what it was called with."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.calls: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        t = t / flow.TIME_SCALE
        self.calls.append((x, t, y))
        return self.function(x, t, y)


def images(count: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=generator)


# ---- pixels


def test_every_pixel_value_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    scaled = to_model(values)
    assert scaled.dtype == torch.float32
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert torch.equal(to_pixels(scaled), values)


def test_pixels_are_clipped_not_wrapped() -> None:
    assert to_pixels(torch.tensor([-7.0, 1.01, 9.0])).tolist() == [0, 255, 255]


# ---- the loss


def drawn(clean: Tensor, label_dropout: float = 0.0) -> flow.FlowDraws:
    return flow.draw(clean.shape, torch.Generator().manual_seed(0), label_dropout)


def test_the_exact_velocity_has_no_loss() -> None:
    clean = to_model(images())
    model = Velocity(lambda x, t, y: (clean - x) / (1 - t.view(-1, 1, 1, 1)))
    assert flow.loss(model, clean, None, drawn(clean)).item() < 1e-6


def test_the_path_runs_from_noise_to_the_image() -> None:
    clean, noise = to_model(images(3)), torch.randn(3, 3, 4, 4)
    model = Velocity(lambda x, t, y: torch.zeros_like(x))
    errors = flow.velocity_error(model, clean, None, torch.tensor([0.0, 1.0, 0.25]), noise)
    x, t, _ = model.calls[0]
    torch.testing.assert_close(t, torch.tensor([0.0, 1.0, 0.25]))
    torch.testing.assert_close(x[0], noise[0])
    torch.testing.assert_close(x[1], clean[1])
    torch.testing.assert_close(x[2], 0.25 * clean[2] + 0.75 * noise[2])
    torch.testing.assert_close(errors, (clean - noise).square().mean((1, 2, 3)))


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (1.0, 1000, 1000), (0.1, 60, 140)])
def test_label_dropout_hides_its_share(share: float, low: int, high: int) -> None:
    labels = torch.arange(1000) % 10
    model = Velocity(lambda x, t, y: x)
    clean = torch.zeros(1000, 3, 1, 1)
    flow.loss(model, clean, labels, drawn(clean, share))
    seen = model.calls[0][2]
    assert seen is not None
    assert low <= (seen == -1).sum() <= high
    assert ((seen == -1) | (seen == labels)).all()


def test_without_labels_there_is_nothing_to_hide() -> None:
    model = Velocity(lambda x, t, y: x)
    clean = torch.zeros(2, 3, 1, 1)
    flow.loss(model, clean, None, drawn(clean, 1.0))
    assert model.calls[0][2] is None


# ---- the validation loss


def network(x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
    """Something that depends on all three inputs, sample by sample."""
    assert y is not None
    return torch.sin(3 * x) * t.view(-1, 1, 1, 1) + 0.1 * y.view(-1, 1, 1, 1)


def test_validation_loss_is_the_same_whatever_happened_before() -> None:
    pixels, labels = images(7), torch.arange(7)
    first = flow.validation_loss(Velocity(network), pixels, labels)
    torch.manual_seed(123)
    torch.rand(5)
    state = torch.get_rng_state()
    assert flow.validation_loss(Velocity(network), pixels, labels) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert flow.validation_loss(Velocity(network), pixels, labels, seed=1) != first


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_validation_loss_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    pixels, labels = images(7), torch.arange(7)
    expected = flow.validation_loss(Velocity(network), pixels, labels)
    got = flow.validation_loss(Velocity(network), pixels, labels, batch_size=batch_size)
    assert got == pytest.approx(expected, rel=1e-6)


def test_validation_times_cover_each_part_once_and_labels_are_shown() -> None:
    model, labels = Velocity(network), torch.arange(5)
    flow.validation_loss(model, images(5), labels, draws=4)
    times = torch.stack([t for _, t, _ in model.calls])
    assert times.shape == (4, 5)
    assert ((times * 4).long() == torch.arange(4)[:, None]).all()
    assert all(torch.equal(y, labels) for _, _, y in model.calls if y is not None)


# ---- samplers


def solution_error(sampler: str, nfe: int) -> float:
    """At t = 1, for dx/dt = x + t, whose solution is (x_0 + 1) e^t - t - 1."""
    noise = torch.tensor([0.5, -1.0], dtype=torch.float64).view(2, 1, 1, 1)
    model = Velocity(lambda x, t, y: x + t.view(-1, 1, 1, 1))
    found = sample(model, noise, sampler=sampler, nfe=nfe)
    return float((found - ((noise + 1) * math.e - 2)).abs().max())


@pytest.mark.parametrize(("sampler", "nfe", "order"), [("euler", 64, 1), ("heun", 32, 2)])
def test_samplers_converge_with_their_order(sampler: str, nfe: int, order: int) -> None:
    coarse, fine = solution_error(sampler, nfe), solution_error(sampler, 2 * nfe)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("sampler", "nfe"), [("euler", 1), ("euler", 7), ("heun", 2), ("heun", 8)])
def test_nfe_is_what_the_network_is_called(sampler: str, nfe: int) -> None:
    for guidance in (1.0, 2.0):
        model = Velocity(lambda x, t, y: x)
        sample(model, torch.ones(2, 1, 1, 1), torch.tensor([0, 1]), sampler=sampler, nfe=nfe, guidance=guidance)
        assert len(model.calls) == nfe
        assert {len(x) for x, _, _ in model.calls} == {2 if guidance == 1 else 4}


def test_heun_wants_an_even_nfe() -> None:
    with pytest.raises(ValueError, match="nfe must be even, not 5"):
        sample(Velocity(lambda x, t, y: x), torch.ones(1, 1, 1, 1), sampler="heun", nfe=5)


def test_the_exact_flow_lands_on_the_image() -> None:
    clean = to_model(images(3))
    model = Velocity(lambda x, t, y: (clean - x) / (1 - t.view(-1, 1, 1, 1)))
    found = sample(model, torch.randn(clean.shape), sampler="euler", nfe=10)
    assert torch.equal(to_pixels(found), images(3))


# ---- guidance


def labelled(x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
    """A constant velocity: the label's number, -1 where it is hidden."""
    assert y is not None
    return y.view(-1, 1, 1, 1).float().expand_as(x)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_guidance_goes_from_unconditional_through_conditional_and_on(sampler: str, scale: float) -> None:
    noise, labels = torch.randn(3, 2, 1, 1), torch.tensor([0, 3, 7])
    found = sample(Velocity(labelled), noise, labels, sampler=sampler, nfe=4, guidance=scale)
    moved = -1 + scale * (labels + 1)
    torch.testing.assert_close(found, noise + moved.view(-1, 1, 1, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.5, 4.0])
def test_guidance_of_the_first_channels_leaves_the_others_to_the_labels(scale: float) -> None:
    """As DiT's `forward_with_cfg`: `torch.cat([half_eps, rest])` of its conditional half."""
    noise, labels = torch.randn(3, 4, 2, 2), torch.tensor([0, 3, 7])
    drawn = sample(Velocity(labelled), noise, labels, nfe=4, guidance=scale, guidance_channels=3) - noise
    of_labels = labels.view(-1, 1, 1, 1).float().expand(drawn.shape)
    torch.testing.assert_close(drawn[:, :3], (-1 + scale * (of_labels + 1))[:, :3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(drawn[:, 3:], of_labels[:, 3:], atol=1e-5, rtol=1e-5)


# ---- what the network sees and answers


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_the_network_sees_times_on_the_scale_that_is_asked_for(scale: float) -> None:
    seen: list[Tensor] = []

    class Times(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
            seen.append(t)
            return x

    clean = to_model(images(4))
    draws = flow.draw(clean.shape, torch.Generator().manual_seed(0))
    flow.loss(Times(), clean, None, draws, scale)
    assert torch.equal(seen.pop(), draws.t * scale)
    sample(Times(), clean, sampler="euler", nfe=4, time_scale=scale)
    assert [t[0].item() for t in seen] == [step / 4 * scale for step in range(4)]
    seen.clear()
    flow.validation_loss(Times(), images(4), None, draws=1, error=partial(flow.velocity_error, time_scale=scale))
    assert seen[0].max() <= scale < 4 * seen[0].max()


def test_of_a_learned_variance_the_first_channels_are_the_velocity() -> None:
    """SiT: "model_output, _ = model_output.chunk(2, dim=1)"."""
    clean = to_model(images(4))
    plain = Velocity(lambda x, t, y: 2 * x)
    with_variance = Velocity(lambda x, t, y: torch.cat([2 * x, torch.full_like(x, 9.0)], 1))
    draws = flow.draw(clean.shape, torch.Generator().manual_seed(0))
    assert flow.loss(plain, clean, None, draws) == flow.loss(with_variance, clean, None, draws)
    drawn = [sample(net, clean, nfe=4, guidance=1.0) for net in (plain, with_variance)]
    assert torch.equal(*drawn)


def test_sampling_keeps_the_noise_and_records_no_gradient() -> None:
    noise = torch.randn(2, 1, 1, 1)
    before = noise.clone()
    weight = torch.ones((), requires_grad=True)
    found = sample(Velocity(lambda x, t, y: weight * x), noise, nfe=4)
    assert torch.equal(noise, before)
    assert not found.requires_grad


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 47])
@pytest.mark.parametrize("batch_size", [1, 7, 16, 64])
@pytest.mark.parametrize("side", [1, 4])
def test_noise_by_batches_is_the_noise_of_all_at_once(count: int, batch_size: int, side: int) -> None:
    shape = torch.Size([count, 3, side, side])
    whole, parts = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    drawn = torch.cat(list(flow._in_batches(shape, batch_size, parts)))
    assert torch.equal(drawn, torch.randn(shape, generator=whole))
    assert torch.equal(parts.get_state(), whole.get_state())
