"""The training loop: AdamW, warm-up and decay, clipping, EMA, autocast; deterministic from a seed."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pdebench.errors import CellWarning, Diverged, Interrupted, ResultsError, out_of_memory
from pdebench.ops.precision import autocast
from pdebench.system.distributed import ALONE, World, local_gradients
from pdebench.system.durations import warm_up
from pdebench.system.energy import EnergyMeter
from pdebench.tasks.learner import Learner
from pdebench.tasks.training import TrainSection
from pdebench.train.batches import Batches, BatchState, Images
from pdebench.train.bits import bits_depend_on, differences
from pdebench.train.compiled import begin_pass, graphed, outlive_the_pass
from pdebench.train.optimizer import AdamW, Group
from pdebench.train.state import Snapshots
from pdebench.train.weights import SharedOut, Whole

# Losses are read back this often: on a GPU each read waits for the device.
READ_EVERY = 10


@dataclass
class Curve:
    """What is kept of every step; columns of `curve.parquet`."""

    step: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)  # since the first step began, evaluations left out
    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float | None] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)


@dataclass
class Trained:
    """A trained model, its EMA, and how the training went.

    `step_seconds` and `data_seconds` hold one number a step: the whole step, and the wait for its batch in it.
    From step `timed_from` on, counted from 0, all were timed under the conditions of this process; none, where it came
    after the last. `bit_exact`: the training was resumed, and is to the last bit what it would have been without that;
    False: it may not be. `joules_an_image`: of all devices, over this process' steps after its warm-up.
    """

    model: nn.Module
    ema: nn.Module
    curve: Curve
    step_seconds: list[float]
    data_seconds: list[float]
    resumed_from: int | None = None
    timed_from: int = 0
    bit_exact: bool | None = None
    joules_an_image: float | None = None


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after a step."""

    step: int
    steps: int
    loss: float
    images_per_second: float


def learning_rate(config: TrainSection, step: int) -> float:
    """The rate of `step` (counted from 0): a linear warm-up, then constant, or a half cosine or a line down to 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "linear":
        return config.lr * (1 - done)
    return config.lr * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int, warmup: bool = True) -> None:
    """Move the average towards the model; with `warmup` by a decay of at most (1 + step) / (10 + step).

    The ramp (as in TensorFlow's ExponentialMovingAverage) keeps the initial weights out of the average of a short run:
    while it holds, the mean age of the average is a tenth of the steps. DiT has none: its .9999 is of mean age 10,000
    from the first step on.
    """
    decay = min(decay, (1 + step) / (10 + step)) if warmup else decay
    averaged: list[Tensor] = list(ema.parameters())
    current: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(averaged, current, 1 - decay)


def train(
    model: nn.Module,
    data: Images,
    config: TrainSection,
    *,
    learner: Learner,
    device: torch.device,
    precision: str,
    flip: bool = False,
    validate_every: int | None = None,
    validate: Callable[[nn.Module], float | None] | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    snapshots: Snapshots | None = None,
    world: World = ALONE,
) -> Trained:
    """Train `model` for `config.steps` steps; every process of `world` does, and has the same weights at the end.

    Args:
        model: on `device`; trained in place.
        data: the training images, in host memory.
        config: the suite's `train` section.
        learner: the task, which draws for each batch and has the loss.
        device: where the model is.
        precision: `fp32` or `bf16`, as `resolve_precision` gave it.
        flip: mirror images left to right with probability 1/2.
        validate_every: steps between calls of `validate`; None calls it after the last step only.
        validate: gives the validation loss of a model.
        watch: called after every READ_EVERY-th step.
        snapshots: where the state is kept; a training that finds one there goes on from it, and ends, on a CPU, under
            the conditions that it began under, with the weights that it would have had without the interruption, bit
            for bit. Where that may not be so, it warns.
        world: the processes that share each batch, all of which load the state and the first of which saves it.

    Raises:
        Diverged: the loss is NaN or infinite.
        Interrupted: `snapshots` was told to end, in any process, and has the state.
        ResultsError: the state that is there is of something else.
    """
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    model.train()
    weights = SharedOut(world, model, ema) if config.shard else Whole(world)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(_groups(model, config), config.betas)
    # One source of randomness for the order of the data and one for what the task draws: neither moves the other.
    order = Generator().manual_seed(config.seed)
    draws = Generator(device).manual_seed(config.seed + 1)
    batches = Batches(
        data, config.batch_size, order, world.part(config.batch_size), flip=flip, pin=device.type == "cuda",
        augment=learner.augment if learner.augments else None, seed=config.seed,
    )  # fmt: skip
    clock = _Clock(device)
    curve = Curve()
    waits: list[float] = []
    pending: list[tuple[Tensor, Tensor, float]] = []

    def state() -> dict[str, Any]:
        return {
            "model": model.state_dict(),
            "ema": ema.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": {"order": batches.state().random, "draws": draws.get_state()} | _global_random(device),
            "left": batches.state().left,
            "curve": asdict(curve),
            "step_seconds": clock.seconds(),
            "data_seconds": waits,
            "conditions": spans,
            "bits": bits,
        }

    begin = 0  # steps that an earlier process did
    spans: list[tuple[int, dict[str, Any]]] = []  # the first step of each process, and what its steps are timed under
    bits: list[dict[str, Any]] = []  # what those of the numbers depended on in each process, likewise
    if snapshots is not None:
        snapshots.trained = _common(data, config, flip)
    if snapshots is not None and (found := snapshots.load()) is not None:
        try:
            begin = _checked_step(found, config.steps, len(data.pixels))
            model.load_state_dict(weights.of_disk(found["model"], model.state_dict()))
            ema.load_state_dict(weights.of_disk(found["ema"], ema.state_dict()))
            optimizer.load_state_dict(weights.of_disk(found["optimizer"], optimizer.state_dict()))
            draws.set_state(found["random"]["draws"])
            batches.load(BatchState(found["left"], found["random"]["order"]), begin)
            _set_global_random(found["random"], device)
            curve, waits = Curve(**found["curve"]), found["data_seconds"]
            clock.earlier = found["step_seconds"]
            spans = [(int(first), dict(conditions)) for first, conditions in found["conditions"]]
            bits = [dict(one) for one in found["bits"]]
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if out_of_memory(error):
                raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ResultsError(
                f"{snapshots.folder} has no state of this cell ({why}); delete it to start over"
            ) from None
    if not world.same(begin):
        raise ResultsError("the processes of this cell do not find one saved state; delete its folder `state`")
    if snapshots is not None:
        snapshots.training = begin < config.steps
    here = bits_depend_on(model, device, precision, world.size)
    if unlike := differences(bits, here):
        warnings.warn(
            f"the training went on from step {begin} under other conditions than before, {unlike}: its numbers "
            "need not be bit for bit those of one that was not interrupted",
            CellWarning,
            stacklevel=2,
        )
    bit_exact = not unlike and device.type == "cpu" and config.compile == "eager" if begin else None
    bits.append(here)
    conditions = {} if snapshots is None else snapshots.conditions
    if begin < config.steps:
        spans.append((begin, conditions))
    called = weights.called(model)
    size = config.batch_size // world.size // config.accumulate
    micro_batches = [slice(at, at + size) for at in range(0, size * config.accumulate, size)]
    batches.count = config.steps - begin
    energy, warm = EnergyMeter(device), begin + warm_up(config.steps - begin)
    for step in range(begin, config.steps):
        if step >= warm:
            energy.begin(config.batch_size / world.size)
        clock.begin()
        pixels, labels = batches.next()
        images = learner.to_model(pixels.to(device, non_blocking=True))
        labels = None if labels is None else labels.to(device, non_blocking=True)
        waits.append(clock.waited())
        rate = learning_rate(config, step)
        whole = torch.Size([config.batch_size, *images.shape[1:]])
        drawn = learner.draw(whole, draws, labelled=labels is not None)[world.part(config.batch_size)]
        optimizer.zero_grad()
        value = torch.zeros((), device=device)
        for micro in micro_batches:
            begin_pass(config.compile, device)
            with nullcontext() if micro is micro_batches[-1] else local_gradients(called):
                with autocast(precision, device):
                    given = None if labels is None else labels[micro]
                    loss = learner.loss(called, images[micro], given, drawn[micro])
                    loss = loss / config.accumulate
                loss.backward()
            value += loss.detach()
            if micro is micro_batches[0] and len(micro_batches) > 1 and graphed(config.compile, device):
                outlive_the_pass(parameters)
        del drawn  # before the next batch's
        if config.clip is None:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            norm = nn.utils.clip_grad_norm_(parameters, config.clip)
        norm = weights.number(norm)
        optimizer.step(rate)
        update_ema(ema, model, config.ema, step, config.ema_warmup)
        clock.end()
        pending.append((value, norm.detach(), rate))
        last = step + 1 == config.steps
        due = validate is not None and (last or (validate_every is not None and (step + 1) % validate_every == 0))
        if last or due or len(pending) == READ_EVERY:
            _read(pending, curve, config, world)
            watch(Progress(step + 1, config.steps, curve.train_loss[-1], config.batch_size / clock.last()))
        if due and validate is not None:
            energy.end()
            curve.val_loss[-1] = validate(weights.whole(model.eval()))
            model.train()
        if snapshots is not None and (last or world.any(snapshots.due(step + 1))):
            energy.end()
            _read(pending, curve, config, world)
            kept = weights.for_disk(state())
            if world.first:
                snapshots.save(step + 1, kept)
            del kept
            world.wait()  # whoever ends before the state is on disk ends all
            snapshots.saved = time.monotonic()  # of every process, whoever wrote it: each asks when the next is due
            snapshots.training = not last
            if world.any(snapshots.ending):
                raise Interrupted(f"asked to end, after step {step + 1} of {config.steps}")
    batches.close()
    energy.end()
    seconds = clock.seconds()
    first = _alike_from(spans, conditions, config.steps)
    curve.seconds = [None] * first if first else []  # seconds of unlike machines have no sum
    total = 0.0
    for one in seconds[first:]:
        total += one
        curve.seconds.append(None if first else total)
    return Trained(
        weights.whole(model.eval()), weights.whole(ema), curve, seconds, waits, begin or None, first, bit_exact,
        energy.joules_an_image(world),
    )  # fmt: skip


def _common(data: Images, config: TrainSection, flip: bool) -> dict[str, Any]:
    """What a training has in common with one that goes on with it, by the names that a suite and a record have for it.

    Not `precision`: of `auto` it is known here alone, and what it came to is said.
    """
    settings = config.model_dump(mode="json", exclude={"precision", "init"})  # where it lies decides nothing
    named = {f"train.{name}": value for name, value in settings.items()}
    return {"data_checksum": data.digest(), "data.flip": flip, **named}


def _checked_step(found: dict[str, Any], steps: int, images: int) -> int:
    """The step of a state.

    Raises:
        ValueError: it is not one of this training, or what was recorded until then is not.
    """
    begin, left = int(found["step"]), found["left"]
    if not 0 < begin <= steps:
        raise ValueError(f"it is of step {begin}, and there are {steps}")
    columns = [column for name, column in found["curve"].items() if name != "seconds"]
    if any(len(column) != begin for column in (*columns, found["step_seconds"], found["data_seconds"])):
        raise ValueError(f"it has not {begin} values of each of its {begin} steps")
    if left.dtype != torch.int64 or left.dim() != 1 or (len(left) and not 0 <= left.min() <= left.max() < images):
        raise ValueError("the images that are left of its epoch are not of this training")
    return begin


def _alike_from(spans: list[tuple[int, dict[str, Any]]], conditions: dict[str, Any], steps: int) -> int:
    """The first of the steps up to the last that were all timed under these conditions; `steps`: none were."""
    alike = takewhile(lambda span: span[1] == conditions, reversed(spans))
    return min((first for first, _ in alike), default=steps)


def _global_random(device: torch.device) -> dict[str, Tensor]:
    """The states of PyTorch's own sources, which a mixer may draw from."""
    states = {"host": torch.get_rng_state()}
    return states if device.type != "cuda" else states | {"device": torch.cuda.get_rng_state(device)}


def _set_global_random(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["host"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)


def _groups(model: nn.Module, config: TrainSection) -> list[Group]:
    """Weights of linear layers and convolutions, which decay, and everything else, which does not.

    The rest are biases, norms, embeddings and the dynamics of a mixer, for which 0 is no neutral value: Mamba's authors
    exempt A, D and dt, and a PDE whose log-lengths decayed would diffuse over the whole image.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    decaying = {id(layer.weight) for layer in layers}
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        Group([p for p in parameters if id(p) in decaying], config.weight_decay),
        Group([p for p in parameters if id(p) not in decaying], 0.0),
    ]


def _read(pending: list[tuple[Tensor, Tensor, float]], curve: Curve, config: TrainSection, world: World) -> None:
    """Bring the pending losses to the host, and stop where one is not finite."""
    losses = world.mean([value.item() for value, _, _ in pending])
    for loss, (_, norm, rate) in zip(losses, pending, strict=True):
        step = len(curve.step) + 1
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} at step {step} of {config.steps} (lr {rate:.2g})")
        curve.step.append(step)
        curve.images.append(step * config.batch_size)
        curve.train_loss.append(loss)
        curve.val_loss.append(None)
        curve.lr.append(rate)
        curve.grad_norm.append(norm.item())
    pending.clear()


class _Clock:
    """Seconds of each step: CUDA events read once at the end, `perf_counter` elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.steps: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.host: list[float] = []
        self.earlier: list[float] = []  # of a training that this one goes on with
        self.began = 0.0

    def begin(self) -> None:
        self.began = time.perf_counter()
        if self.cuda:
            events = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            events[0].record()
            self.steps.append(events)

    def waited(self) -> float:
        """Host seconds since the step began."""
        return time.perf_counter() - self.began

    def end(self) -> None:
        self.host.append(time.perf_counter() - self.began)
        if self.cuda:
            self.steps[-1][1].record()

    def last(self) -> float:
        """Seconds of the latest step, for watching; on a GPU the host's, which only launches."""
        return self.host[-1]

    def seconds(self) -> list[float]:
        """One number a step."""
        if not self.cuda:
            return self.earlier + self.host
        torch.cuda.synchronize()
        return self.earlier + [begin.elapsed_time(end) / 1000 for begin, end in self.steps]
