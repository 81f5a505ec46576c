"""Training steps of one model, as many as are asked for, in a process of its own; and its peak memory.

    python -m pdebench.measure.train_steps WORK      a line of JSON for each line N on standard input

A step is the cell's: the loop that trains it, with its batch, loss, clipping, optimiser and average of the weights, on
images that are made up. The first line comes when the model has been built, compiled and warmed up; then the process
sleeps until it is told to go on for so many samples, and ends when its input is closed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from pdebench.errors import out_of_memory
from pdebench.measure.largest_batch import FULL

if TYPE_CHECKING:
    from torch import nn

    from pdebench.measure.memory import PeakMemory

FOREVER = 10**9  # steps
# With next to none the gates stay at 0, and moments of gradients behind them are denormal numbers, which take a CPU
# many times as long; with much, a training that goes on for longer than a cell's may diverge.
LR = 1e-4
WARM = 5  # steps before anything counts; a peak of memory is reached by the second
# Between two looks at the clock a CPU does a step; a GPU is given several ahead, as in a training, to work off.
AT_ONCE = {"cpu": 1, "cuda": 10}


@dataclass(frozen=True)
class StepWork:
    """What to train.

    Attributes:
        name: as `create_model` takes it.
        build: its other arguments.
        task: what is learned.
        train: the cell's `train` section; its steps and its learning rate, which cost nothing, are replaced.
        cores: those that the process may use; None: all that its parent may.
        memory: bytes of host memory that it may have; None: all.
    """

    name: str
    build: dict[str, Any]
    task: str
    train: dict[str, Any]
    cores: tuple[int, ...] | None = None
    memory: int | None = None


class _Paced:
    """A training that goes on as it is told: called between its steps, in the place of a validation."""

    def __init__(self, steps: int, memory: PeakMemory, machine: dict[str, Any], answers: IO[str]) -> None:
        self.steps, self.memory, self.machine, self.answers = steps, memory, machine, answers
        self.left = max(1, WARM // steps)
        self.samples: list[float] = []
        self.began = time.perf_counter()

    def __call__(self, model: nn.Module) -> None:
        self.samples.append((time.perf_counter() - self.began) / self.steps)
        self.left -= 1
        if self.left == 0:
            answer = {"seconds": self.samples, "peak": self.memory.read(), "machine": self.machine}
            self.answers.write(json.dumps(answer) + "\n")
            if not (asked := sys.stdin.readline()):
                os._exit(0)
            self.left, self.samples = int(asked), []
        self.began = time.perf_counter()


def main(text: str) -> None:
    """Train until nobody asks for more."""
    work = StepWork(**json.loads(text))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints is not an answer
    if work.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, work.cores)
    if work.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (work.memory, work.memory))
    import torch

    from pdebench.measure.memory import PeakMemory
    from pdebench.models.backbone import create_model
    from pdebench.models.grid import sides_of
    from pdebench.ops.precision import resolve_precision
    from pdebench.system.machine import describe
    from pdebench.tasks.registry import TASKS
    from pdebench.train.batches import Images
    from pdebench.train.compiled import compile_in_place
    from pdebench.train.loop import train

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
        torch.set_num_threads(min(threads, len(work.cores or range(threads))))
    task = TASKS[work.task]
    endless = {"steps": FOREVER, "lr": LR, "schedule": "constant", "warmup": 0, "init": None, "init_content": None}
    config = task.training.model_validate(work.train | endless)
    learner, machine = task.learner(config), describe()
    sides = sides_of(work.build["input_size"])
    shape = (config.batch_size, work.build["in_channels"], *sides)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = learner.made_up_labels(pixels, work.build["num_classes"])
    memory = PeakMemory(device)  # as in a cell: its data are there, its model is not
    model = create_model(work.name, **work.build).to(device)
    compile_in_place(model, config.compile, device)
    steps = AT_ONCE[device.type]
    train(
        model, Images(pixels, labels), config, learner=learner, device=device,
        precision=resolve_precision(config.precision, device), validate_every=steps,
        validate=_Paced(steps, memory, machine, answers),
    )  # fmt: skip


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        if not out_of_memory(error):
            raise
        os._exit(FULL)  # an orderly end would want memory
