"""One of two processes of a cell: `python two_processes.py RANK PORT LISTENER FOLDER`.

Leaves what it found in FOLDER/RANK.pt, for `test_distributed.py` to compare with what one process finds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from test_loop import config, data, model
from torch import nn

from pdebench.errors import Diverged, Interrupted
from pdebench.system import energy
from pdebench.system.distributed import ALONE, World, join
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.loop import Trained, train
from pdebench.train.state import Snapshots
from pdebench.train.weights import SharedOut

CPU = torch.device("cpu")
BATCH = 8
# what is asked of each training: its family, and what differs in `train`
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "shared": ("DiT", {}),
    "micro-batches": ("PDE-SSM-DiT", {"accumulate": 2}),
    "clipped": ("PDE-SSM-DiT", {"clip": 0.1, "label_dropout": 0.5}),
    "shared out": ("PDE-SSM-DiT", {"shard": True, "accumulate": 2, "clip": 0.1}),
    "one image at a time": ("Mamba-DiT", {"steps": 3, "accumulate": 4}),
}
RESUMED = ("clipped", "shared out")
# joules that each of the two devices takes for its images; None: it has no counter. Below 0: its counter goes back
METERED = {"both": (2, 6), "one without": (2, None), "one that goes back": (2, -6)}
STEPS = 6
ENDED_AFTER = 4


def trained(name: str, world: World = ALONE, snapshots: Snapshots | None = None, **more: Any) -> Trained:
    """One of TRAININGS; alone it takes whole batches."""
    family, changes = TRAININGS[name]
    asked = {"steps": STEPS, "batch_size": BATCH, "devices": world.size} | changes | more
    if world.size == 1:
        asked |= {"accumulate": 1, "shard": False}

    def validate(net: nn.Module) -> float:
        return flow.validation_loss(net, data().pixels, data().labels, batch_size=5, world=world)

    return train(
        model(family), data(), config(**asked), learner=GENERATION.learner(config(**asked)), device=CPU,
        precision="fp32", flip=True, validate=validate, validate_every=4, snapshots=snapshots, world=world,
    )  # fmt: skip


def found_of(result: Trained) -> dict[str, Any]:
    """What is to be equal, as plain data."""
    curve = result.curve
    columns = {name: getattr(curve, name) for name in ("train_loss", "val_loss", "grad_norm", "images", "lr")}
    return columns | {kind: getattr(result, kind).state_dict() for kind in ("model", "ema")}


class Counted(Snapshots):
    """Counts what it saves; long due at the first step, and not again."""

    count = 0

    def save(self, step: int, state: dict[str, Any]) -> None:
        self.count += 1
        super().save(step, state)


class EndedElsewhere(Snapshots):
    """Snapshots of a process that is asked to end, if it is the second, while step ENDED_AFTER is computed."""

    world = ALONE

    def due(self, step: int) -> bool:
        if step == ENDED_AFTER and not self.world.first:
            self.end()
        return super().due(step)


def joules_an_image(world: World, joules: int | None) -> float | None:
    """Of three images of the first process and one of the second, on devices that take so many joules for theirs."""
    counts = iter([100_000, 100_000 + 1000 * (joules or 0)])
    energy.LEAST_SECONDS = 0.0
    energy.counter_of = lambda device: None if joules is None else lambda: next(counts)
    meter = energy.EnergyMeter(CPU)
    meter.begin(1 if world.rank else 3)
    meter.end()
    return meter.joules_an_image(world)


def main(rank: int, port: int, listener: int, folder: Path) -> None:
    torch.set_num_threads(1)
    world = join(rank, 2, port, listener if rank == 0 else None)
    found: dict[str, Any] = {name: found_of(trained(name, world)) for name in TRAININGS}
    found["mean"] = world.mean([rank, 10.0 * rank])
    found["any"] = [world.any(False), world.any(rank == 1)]
    found["same"] = [world.same(3), world.same(rank)]
    for count in (0, 1, 4, 5):
        pieces = [f"{index}" for index in world.mine(count)]
        found[f"rounds of {count}"] = list(world.rounds(pieces, count))
    net = model().eval()
    for size in (1, 5, 64):
        found[f"validation by {size}"] = flow.validation_loss(
            net, data().pixels, data().labels, batch_size=size, world=world
        )
    try:
        trained("shared", world, lr=1e30, steps=30)
    except Diverged as error:
        found["diverged"] = str(error)

    counted = Counted(folder / "counted", seconds=1e5, saved=time.monotonic() - 1e6)
    trained("shared", world, counted)
    found["saves"] = counted.count

    SharedOut(world, shared := model("PDE-SSM-DiT"))
    found["whole"] = sum(one.numel() for one in shared.parameters())
    found["held"] = sum(one.to_local().numel() for one in shared.parameters())
    for name in RESUMED:
        snapshots = EndedElsewhere(folder / name, seconds=1e9)
        snapshots.folder.mkdir(exist_ok=True)
        snapshots.world = world
        try:
            trained(name, world, snapshots)
        except Interrupted as error:
            interrupted = str(error)
        world.wait()
        states = sorted(path.name for path in snapshots.folder.iterdir())
        world.wait()
        resumed = trained(name, world, Snapshots(folder / name))
        found[f"resumed {name}"] = {
            "interrupted": interrupted,
            "states": states,
            "from": resumed.resumed_from,
            "found": found_of(resumed),
        }
    for case, joules in METERED.items():
        found[f"joules of {case}"] = joules_an_image(world, joules[rank])
    world.leave()
    torch.save(found, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
