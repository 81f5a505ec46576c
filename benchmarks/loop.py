"""`pdebench.train.loop.train` over a bare loop: what the harness costs.

The bare loop is forward, backward and AdamW's fused step on one batch that lies in memory as the model takes
it, float32 in [-1, 1]. All else counts against the harness: the gather, the mirroring, the conversion from
uint8, the learning rate, the gradient's norm, EMA, and reading the losses back.

Both loops run in turns of `READ_EVERY` steps. `train` is one run: the bare loop's turns are taken inside its
`watch`, two at every second call, which gives A B B A.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, paired
from pdebench.models.backbone import Backbone, create_model
from pdebench.ops.precision import autocast
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.pixels import to_model
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.batches import Images
from pdebench.train.loop import READ_EVERY, Progress, train

MODELS = ("PDE-SSM-DiT-XS/4", "DiT-XS/4")
RESOLUTION, BATCH, CLASSES = 32, 64, 10
TARGET = 1.02
WARMUP_TURNS, PAIRS = 2, 16


def run(effort: Effort) -> Iterator[Row]:
    """One row for each model, in the precision that `auto` takes here."""
    precision = PRECISIONS[-1]
    # a turn takes seconds, so the number of pairs alone sets the time
    pairs = 2 if effort.quick else PAIRS
    for name in MODELS[:1] if effort.quick else MODELS:
        yield Row("loop", f"{name} {precision}: train / bare loop", paired(*_turns(name, precision, pairs)), TARGET)


def _turns(name: str, precision: str, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of one step, a number for each turn of either loop."""
    turns = WARMUP_TURNS + pairs
    config = TrainConfig(steps=READ_EVERY * turns, batch_size=BATCH, lr=1e-3, clip=1.0, warmup=10)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1024, 3, RESOLUTION, RESOLUTION), dtype=torch.uint8, generator=generator)
    data = Images(pixels, torch.randint(0, CLASSES, (1024,), generator=generator))
    bare = _bare_loop(_model(name), data, config, precision)
    ours: list[float] = []
    theirs: list[float] = []
    began = time.perf_counter()

    def turn(progress: Progress) -> None:
        nonlocal began
        ours.append((time.perf_counter() - began) / READ_EVERY)
        if len(ours) % 2 == 1:
            theirs.extend(bare() for _ in range(2))
        began = time.perf_counter()

    train(
        _model(name),
        data,
        config,
        learner=GENERATION.learner(config),
        device=DEVICE,
        precision=precision,
        flip=True,
        watch=turn,
    )
    return ours[WARMUP_TURNS:], theirs[WARMUP_TURNS : WARMUP_TURNS + pairs]


def _model(name: str) -> Backbone:
    torch.manual_seed(0)
    return create_model(name, input_size=RESOLUTION, in_channels=3, num_classes=CLASSES).to(DEVICE)


def _bare_loop(model: Backbone, data: Images, config: TrainConfig, precision: str) -> Callable[[], float]:
    """Runs `READ_EVERY` steps and gives the seconds of one."""
    assert data.labels is not None
    images, labels = to_model(data.pixels[:BATCH].to(DEVICE)), data.labels[:BATCH].to(DEVICE)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.lr,
        betas=config.betas,
        weight_decay=0.0,
        fused=True,
    )
    draws = torch.Generator(DEVICE).manual_seed(1)
    model.train()

    def block() -> float:
        began = time.perf_counter()
        for _ in range(READ_EVERY):
            with autocast(precision, images.device):
                drawn = flow.draw(images.shape, draws, config.label_dropout)
                loss = flow.loss(model, images, labels, drawn)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        finish()
        return (time.perf_counter() - began) / READ_EVERY

    return block
