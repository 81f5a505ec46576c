"""The largest training batch that fits: found by doubling, in a process of its own that may die of the next one.

    python -m pdebench.measure.largest_batch TRIAL      one line for each batch that went through

The process that asks keeps its memory, its allocator and its device's state as they were.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pdebench.errors import out_of_memory

FULL = 3  # exit status: the memory is full
MOST = 2**16  # a batch beyond it tells nothing
SHARE = 0.9  # of a CPU machine's free memory, where nothing else limits the process


@dataclass(frozen=True)
class Trial:
    """What to train with ever larger batches.

    Attributes:
        name: as `create_model` takes it.
        build: its other arguments.
        task: what is learned.
        train: the cell's `train` section, of which the batch and the steps are replaced.
        precision: `fp32` or `bf16`.
        start: the first batch.
    """

    name: str
    build: dict[str, Any]
    task: str
    train: dict[str, Any]
    precision: str
    start: int


def largest_batch(trial: Trial, seconds: float) -> dict[str, Any]:
    """Columns `largest_batch` (null: not even the first fits) and `largest_batch_bound`: what ended the search.

    The bound is `memory`; `time` where `seconds` were over first, so that a larger batch might fit; `search`, which
    ends at MOST; or `error` and what it was: what else was measured of the cell is not lost with it.
    """
    command = [sys.executable, "-m", "pdebench.measure.largest_batch", json.dumps(asdict(trial))]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        # a session of its own, which ends with it: a compiler starts processes too
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        alarm = threading.Timer(seconds, _kill, [process])
        alarm.start()
        try:
            assert process.stdout is not None
            fits = [int(line) for line in process.stdout]
            code = process.wait()
        finally:
            alarm.cancel()
            _kill(process)
        log.seek(0)
        said = log.read().strip().splitlines()
    late = time.monotonic() - began >= seconds
    last = said[-1] if said else ""
    if late:
        bound = "time"
    elif code == 0:
        bound = "search"
    elif code in (FULL, -signal.SIGKILL) or "bad_alloc" in last:  # of a kill the kernel is the likely author
        bound = "memory"
    else:
        bound = f"error: the search ended with status {code}: {last}"
    return {"largest_batch": max(fits, default=None), "largest_batch_bound": bound}


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def main(text: str) -> None:
    """Double the batch until the memory is full; every end of this process is an answer."""
    trial = Trial(**json.loads(text))
    import torch

    from pdebench.models.backbone import create_model
    from pdebench.models.grid import sides_of
    from pdebench.tasks.registry import TASKS
    from pdebench.train.batches import Images
    from pdebench.train.compiled import compile_in_place, graphed
    from pdebench.train.loop import train

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _limit_memory(on_cpu=device.type == "cpu")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    size, channels, task = trial.build["input_size"], trial.build["in_channels"], TASKS[trial.task]
    batch = trial.start
    while batch <= MOST:
        model = create_model(trial.name, **trial.build).to(device)
        pixels = torch.zeros(batch, channels, *sides_of(size), dtype=torch.uint8)
        # the second step is the first with the optimiser's state there from its beginning
        config = task.training.model_validate(trial.train | {"steps": 2, "warmup": 0, "batch_size": batch})
        if graphed(config.compile, device):
            torch.compiler.reset()  # graphs of the batch before hold its memory
        compile_in_place(model, config.compile, device)
        learner = task.learner(config)
        labels = learner.made_up_labels(pixels, model.num_classes)
        train(model, Images(pixels, labels), config, learner=learner, device=device, precision=trial.precision)
        print(batch, flush=True)
        del model
        batch *= 2


def _limit_memory(*, on_cpu: bool) -> None:
    """Stay within what the cell has left of its limit, and on a CPU within what the machine has free.

    Beyond the one the cell would be ended, and beyond the other the kernel may end another process than this one.
    """
    import psutil

    within = [int(psutil.virtual_memory().available * SHARE)] if on_cpu else []
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit != resource.RLIM_INFINITY:
        waits = psutil.Process(os.getppid()).memory_info()  # its memory counts with ours
        within.append(max(0, limit - (waits.rss - getattr(waits, "shared", 0))))
    if within:
        resource.setrlimit(resource.RLIMIT_DATA, (min(within), min(within)))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        if not out_of_memory(error):
            raise
        os._exit(FULL)  # an orderly end would want memory
