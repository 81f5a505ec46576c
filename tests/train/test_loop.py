"""The training loop: what decides a run, what is kept of it, and how it ends."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pdebench.data.space import Space
from pdebench.errors import Diverged
from pdebench.models.backbone import Backbone, create_model
from pdebench.ops.precision import cast_once, resolve_precision
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.pixels import to_pixels
from pdebench.tasks.generation.solver import sample
from pdebench.tasks.generation.task import GENERATION
from pdebench.train import loop
from pdebench.train.batches import Batches, Images
from pdebench.train.loop import READ_EVERY, Progress, Trained, learning_rate, train, update_ema

CPU = torch.device("cpu")


def data(count: int = 12, labels: bool = True) -> Images:
    """Bright or dark images, by label."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(count) % 2
    pixels = torch.randint(0, 60, (count, 3, 16, 16), generator=generator) + 180 * classes.view(-1, 1, 1, 1)
    return Images(pixels.to(torch.uint8), classes if labels else None)


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**({"steps": 5, "batch_size": 4, "lr": 1e-3} | changes))  # type: ignore[arg-type]


def model(family: str = "PDE-SSM-DiT") -> Backbone:
    torch.manual_seed(0)
    return create_model(f"{family}-XXS/8", input_size=16, in_channels=3, num_classes=2)


def run(
    net: nn.Module | None = None, images: Images | None = None, *, precision: str = "fp32", **changes: object
) -> Trained:
    keywords = {
        name: changes.pop(name)
        for name in ("validate", "validate_every", "watch", "flip", "snapshots")
        if name in changes
    }
    asked = config(**changes)
    return train(
        net or model(),
        images or data(),
        asked,
        learner=GENERATION.learner(asked),
        device=CPU,
        precision=precision,
        **keywords,  # type: ignore[arg-type]
    )


# ---- from a seed


@pytest.mark.parametrize(
    ("family", "precision"),
    [("PDE-SSM-DiT", "fp32"), ("DiT", "fp32"), ("PDE-SSM-DiT", "bf16"), ("Mamba-DiT", "fp32")],
)
def test_the_same_seed_gives_the_same_run_to_the_last_bit(family: str, precision: str) -> None:
    first = run(model(family), precision=precision, flip=True)
    torch.rand(7)  # the global generator has no say
    second = run(model(family), precision=precision, flip=True)
    assert first.curve.train_loss == second.curve.train_loss
    assert first.curve.grad_norm == second.curve.grad_norm
    for trained in ("model", "ema"):
        states = getattr(first, trained).state_dict(), getattr(second, trained).state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_another_seed_gives_another_run() -> None:
    assert run(seed=0).curve.train_loss != run(seed=1).curve.train_loss


def test_validation_does_not_change_the_run() -> None:
    def validate(net: nn.Module) -> float:
        return flow.validation_loss(net, data().pixels, data().labels)

    assert run().curve.train_loss == run(validate=validate, validate_every=2).curve.train_loss


# ---- learning rate, average, precision


def test_learning_rate_warms_up_and_holds() -> None:
    asked = config(steps=100, lr=0.4, warmup=4)
    assert [learning_rate(asked, step) for step in (0, 1, 3, 4, 99)] == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])


def test_learning_rate_follows_half_a_cosine_to_zero() -> None:
    asked = config(steps=110, lr=0.4, warmup=10, schedule="cosine")
    assert [learning_rate(asked, step) for step in (0, 9, 10, 60, 110)] == pytest.approx([0.04, 0.4, 0.4, 0.2, 0.0])
    rates = [learning_rate(asked, step) for step in range(10, 110)]
    assert rates == sorted(rates, reverse=True)
    assert rates[25] == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))


def test_a_run_uses_and_keeps_the_rates() -> None:
    asked = config(steps=6, warmup=2, schedule="cosine")
    assert run(steps=6, warmup=2, schedule="cosine").curve.lr == [learning_rate(asked, step) for step in range(6)]


@pytest.mark.parametrize(("step", "decay"), [(0, 1 / 10), (10, 11 / 20), (90, 91 / 100), (10**7, 0.9999)])
def test_the_average_forgets_its_start_at_first(step: int, decay: float) -> None:
    averaged, current = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = decay * averaged.weight.detach() + (1 - decay) * current.weight.detach()
    update_ema(averaged, current, 0.9999, step)
    torch.testing.assert_close(averaged.weight.detach(), expected)


def test_the_average_can_be_of_a_fixed_decay_as_dits() -> None:
    averaged, current = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = 0.9999 * averaged.weight.detach() + 0.0001 * current.weight.detach()
    update_ema(averaged, current, 0.9999, 0, warmup=False)
    torch.testing.assert_close(averaged.weight.detach(), expected)
    ramped, fixed = run(steps=8, ema=0.9999), run(steps=8, ema=0.9999, ema_warmup=False)
    assert ramped.curve.train_loss == fixed.curve.train_loss
    start, name = model().state_dict(), "final_layer.linear.bias"
    far = [(one.ema.state_dict()[name] - start[name]).norm() for one in (ramped, fixed)]
    assert far[1] < far[0] / 50


def test_the_average_is_another_model_that_followed() -> None:
    start = copy.deepcopy(model().state_dict())
    trained = run(steps=20)
    name = "final_layer.linear.weight"
    start_, ema, end = start[name], trained.ema.state_dict()[name], trained.model.state_dict()[name]
    assert 0 < (ema - end).norm() < (start_ - end).norm()


def test_sampling_from_the_average_between_steps_sees_its_latest_weights() -> None:
    """The PDE operator keeps its symbol while nothing changes; a step of the average is a change."""
    net = model()
    ema = copy.deepcopy(net).eval()
    for parameter in net.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([10.0, 500.0])
    with torch.no_grad():
        ema(x, t)
        update_ema(ema, net, 0.5, 10**6)
        torch.testing.assert_close(ema(x, t), copy.deepcopy(ema)(x, t))
        assert ema(x, t).any()


def test_a_look_at_the_model_between_backward_and_step_leaves_nothing_behind() -> None:
    net = model()
    for parameter in net.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([10.0, 500.0])
    net(x, t).square().mean().backward()
    with torch.no_grad():
        net.eval()(x, t)
        net.train()
        optimizer.step()
        assert torch.equal(net.eval()(x, t), copy.deepcopy(net)(x, t))


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_named_precision_is_taken(asked: str) -> None:
    assert resolve_precision(asked, CPU) == asked


@pytest.mark.parametrize(("has", "taken"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_there_are_matrix_units(monkeypatch: pytest.MonkeyPatch, has: bool, taken: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has)
    assert resolve_precision("auto", CPU) == taken
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has)
    assert resolve_precision("auto", torch.device("cuda")) == taken


# ---- batches


@given(count=st.integers(1, 20), batch_size=st.integers(1, 25), seed=st.integers(0, 99))
def test_every_image_comes_once_an_epoch(count: int, batch_size: int, seed: int) -> None:
    images = Images(torch.arange(count).view(-1, 1, 1, 1), torch.arange(count) + 100)
    epochs = 3
    source = Batches(images, batch_size, torch.Generator().manual_seed(seed))
    batches = [source.next() for _ in range(-(-epochs * count // batch_size))]
    assert all(len(pixels) == batch_size for pixels, _ in batches)
    assert all(torch.equal(pixels.flatten() + 100, labels) for pixels, labels in batches if labels is not None)
    stream = torch.cat([pixels.flatten() for pixels, _ in batches])
    for epoch in range(epochs):
        assert sorted(stream[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


@given(st.integers(3, 12), st.integers(1, 7), st.integers(0, 9), st.booleans())
def test_batches_go_on_after_any_of_them(count: int, batch_size: int, after: int, flip: bool) -> None:
    moments = np.random.default_rng(0).normal(size=(count, 2, 1, 2)).astype(np.float32) ** 2
    images = Images(moments, torch.arange(count), mirrored=-moments[:, :, :, ::-1], space=Space(spread="std"))

    def batches() -> Batches:
        return Batches(images, batch_size, torch.Generator().manual_seed(5), flip=flip)

    whole, broken, resumed = batches(), batches(), batches()
    expected = [whole.next() for _ in range(after + 6)]
    for _ in range(after):
        broken.next()
    resumed.load(broken.state(), after)
    for batch in expected[after:]:
        again = resumed.next()
        assert torch.equal(again.images, batch.images)
        assert torch.equal(again.labels, batch.labels)  # type: ignore[arg-type]


def test_latents_are_drawn_anew_in_each_epoch_and_mirrored_ones_are_their_own() -> None:
    moments = np.concatenate([np.zeros((4, 1, 2, 2)), np.ones((4, 1, 2, 2))], 1).astype(np.float32)
    mirrored = moments + np.float32([1000, 0]).reshape(1, 2, 1, 1)
    images = Images(moments, torch.arange(4), mirrored=mirrored, space=Space(spread="std"))
    source = Batches(images, 4, torch.Generator().manual_seed(0), flip=True)
    epochs = []
    for _ in range(8):
        drawn, labels = source.next()
        assert labels is not None
        epochs.append(drawn[labels.argsort()])
    drawn = torch.stack(epochs)
    assert len(drawn[drawn < 900].unique()) == (drawn < 900).sum()
    turned = (drawn > 900).flatten(2)
    assert torch.equal(turned.all(2), turned.any(2))
    assert 6 < turned.all(2).sum() < 26


def test_epochs_come_in_new_orders() -> None:
    images = Images(torch.arange(50).view(-1, 1, 1, 1), None)
    source = Batches(images, 50, torch.Generator().manual_seed(0))
    first, second = source.next(), source.next()
    assert first[1] is None
    assert not torch.equal(first[0], second[0])


def test_flip_mirrors_about_half_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = torch.arange(16, dtype=torch.uint8).expand(32, 3, 16, 16)
    seen: list[Tensor] = []
    loss = flow.loss

    def spy(net: nn.Module, images: Tensor, *rest: object) -> Tensor:
        seen.append(to_pixels(images))
        return loss(net, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(flow, "loss", spy)
    for flip in (False, True):
        run(images=Images(ramp, None), flip=flip, steps=4, batch_size=32)
    plain, mirrored = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert torch.equal(plain, ramp.repeat(4, 1, 1, 1))
    is_mirrored = (mirrored == ramp[0].flip(-1)).all((1, 2, 3))
    assert (is_mirrored | (mirrored == ramp[0]).all((1, 2, 3))).all()
    assert 40 < is_mirrored.sum() < 88


# ---- what comes back


def test_the_loss_falls_on_a_tiny_set() -> None:
    losses = run(steps=150, lr=2e-3, warmup=5, clip=1.0).curve.train_loss
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])


def test_training_without_labels() -> None:
    assert len(run(images=data(labels=False)).curve.train_loss) == 5


def test_models_come_back_in_eval() -> None:
    trained = run()
    assert not trained.model.training
    assert not trained.ema.training
    assert not any(parameter.requires_grad for parameter in trained.ema.parameters())
    assert any(parameter.requires_grad for parameter in trained.model.parameters())


@pytest.mark.parametrize("steps", [1, READ_EVERY, READ_EVERY + 3])
def test_the_curve_has_every_step(steps: int) -> None:
    trained = run(steps=steps)
    curve = trained.curve
    assert curve.step == list(range(1, steps + 1))
    assert curve.images == [4 * step for step in curve.step]
    columns = (curve.seconds, curve.train_loss, curve.val_loss, curve.lr, curve.grad_norm)
    assert {len(column) for column in (*columns, trained.step_seconds, trained.data_seconds)} == {steps}
    assert curve.seconds == sorted(curve.seconds)
    assert curve.seconds[-1] == pytest.approx(sum(trained.step_seconds))
    assert all(wait <= step for wait, step in zip(trained.data_seconds, trained.step_seconds, strict=True))
    assert curve.val_loss == [None] * steps


def test_the_gradients_norm_is_kept_as_it_was_before_clipping() -> None:
    free, clipped = run(steps=2, clip=None), run(steps=2, clip=1e-3)
    assert free.curve.grad_norm[0] == clipped.curve.grad_norm[0] > 1e-3


@pytest.mark.parametrize(
    ("steps", "every", "validated"),
    [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (4, None, [4]), (2, 50, [2]), (23, 11, [11, 22, 23])],
)
def test_validation_comes_when_asked_and_at_the_end(steps: int, every: int | None, validated: list[int]) -> None:
    modes: list[bool] = []

    def validate(net: nn.Module) -> float:
        modes.append(net.training)
        return float(len(modes))

    curve = run(steps=steps, validate=validate, validate_every=every).curve
    assert [step for step, loss in zip(curve.step, curve.val_loss, strict=True) if loss is not None] == validated
    assert [loss for loss in curve.val_loss if loss is not None] == [float(i + 1) for i in range(len(validated))]
    assert not any(modes)


def test_a_watcher_is_told_regularly() -> None:
    told: list[Progress] = []
    run(steps=2 * READ_EVERY + 3, watch=told.append)
    assert [progress.step for progress in told] == [READ_EVERY, 2 * READ_EVERY, 2 * READ_EVERY + 3]
    assert all(progress.images_per_second > 0 and progress.steps == 23 for progress in told)


# ---- divergence


class NotANumberAt(nn.Module):
    """A linear network that fails in its `step`-th call."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.scale, self.left = nn.Parameter(torch.ones(())), step

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.left -= 1
        return x * (self.scale if self.left else self.scale * torch.nan)


@pytest.mark.parametrize("step", [1, 4, READ_EVERY + 2])
def test_divergence_is_said_with_its_step(step: int) -> None:
    with pytest.raises(Diverged, match=rf"became nan at step {step} of 40 \(lr 0.001\)"):
        run(NotANumberAt(step), steps=40)


def test_a_rate_that_is_far_too_high_ends_as_divergence() -> None:
    with pytest.raises(Diverged, match="the training loss became"):
        run(steps=60, lr=1e12)


def test_autocast_is_off_in_fp32() -> None:
    with loop.autocast("fp32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with loop.autocast("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "Mamba-DiT", "S4D-DiT", "ZigMa"])
def test_weight_decay_is_for_linear_layers_and_convolutions(family: str) -> None:
    """Without a gradient to speak of, AdamW only decays: what is not to decay stays where it began."""
    net = model(family)
    before = {name: value.clone() for name, value in net.named_parameters()}
    run(net, steps=1, lr=1e-3, weight_decay=100.0)
    decayed = {
        name
        for name, value in net.named_parameters()
        if before[name].norm() > 0 and value.norm() < 0.97 * before[name].norm()
    }
    layers = {
        f"{name}.weight"
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and before[f"{name}.weight"].norm() > 0
    }
    assert decayed == layers


class _Casts(TorchDispatchMode):
    """Counts the elements that are cast to bf16."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and made.dtype is torch.bfloat16:
            self.elements += made.numel()
        return made


def test_frozen_weights_are_cast_once_and_not_in_each_evaluation() -> None:
    model = create_model("DiT-XXS/4", input_size=8, in_channels=3, num_classes=None, depth=1).eval()
    frozen = copy.deepcopy(model).requires_grad_(False)
    noise = torch.randn(1, 3, 8, 8)

    def casts(subject: torch.nn.Module, nfe: int) -> tuple[int, torch.Tensor]:
        with _Casts() as counted, cast_once(subject, "bf16", CPU):
            drawn = sample(subject, noise, sampler="euler", nfe=nfe)
        return counted.elements, drawn

    weights = sum(p.numel() for p in model.parameters())
    once, twenty = casts(frozen, 1)[0], casts(frozen, 20)[0]
    assert twenty - once < 19 * weights / 4, "activations alone"
    assert casts(frozen, 20)[0] == casts(model, 20)[0]
    assert not any(p.requires_grad for p in frozen.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(casts(frozen, 4)[1], sample(frozen, noise, sampler="euler", nfe=4))
