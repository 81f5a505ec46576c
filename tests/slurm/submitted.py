"""What the tests here do with a suite and a results folder."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from runs import pdebench_run
from safetensors.torch import load_file

from pdebench.run.status import State, status_of

ONE = ("--set", "grid.model.family=[DiT]")
OFTEN = ("--set", "execution.checkpoint_seconds=0", "--set", "execution.timing=shared")


def submit(suite: Path, results: Path, *more: object) -> None:
    done = pdebench_run("run", suite, "--results", results, "--executor", "slurm", *more)
    assert done.returncode == 0, done.stdout + done.stderr


def statuses(results: Path) -> list[str]:
    return [state.status for state in status_of(results).cells]


def only(results: Path) -> State:
    (state,) = status_of(results).cells
    return state


def control(*arguments: str) -> None:
    subprocess.run(["scontrol", *arguments], check=True)


def run_again_now(task: str) -> None:
    """A requeued job waits for two minutes, which a test need not, unless it was still ending when this was asked.

    It has to wait until its old credential's second is over: slurmd refuses a new one of the same as revoked.
    """
    time.sleep(5)
    control("update", f"JobId={task}", "StartTime=now")


def states(results: Path) -> list[str]:
    return sorted(path.name for path in results.glob("cells/*/state/*.pt"))


def weights(results: Path) -> dict[str, bytes]:
    (checkpoint,) = results.glob("cells/*/checkpoint.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(checkpoint).items()}
