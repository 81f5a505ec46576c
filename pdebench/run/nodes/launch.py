"""How the first process of a cell has one started on each other machine: by torchrun, or else by SLURM.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from pdebench.errors import SlotError
from pdebench.run.nodes import slurm, torchrun


def machines() -> int:
    """How many machines this run has."""
    return torchrun.machines() or slurm.machines() or 1


def require(nodes: int) -> None:
    """Check that cells of so many nodes can be run from here.

    Raises:
        SlotError: this run has fewer machines.
    """
    if (there := machines()) >= nodes:
        return
    has = "is on one machine" if there == 1 else f"has {there} machines"
    raise SlotError(
        f"train.nodes is {nodes}, but this run {has}: submit it with --executor slurm, or start it on each of {nodes} "
        f"machines as torchrun --nnodes {nodes} --nproc-per-node DEVICES --rdzv-backend c10d --rdzv-endpoint HOST:PORT "
        "-m pdebench run SUITE"
    )


def address() -> str:
    """Where the other machines reach this one, the first."""
    return torchrun.address() if torchrun.machines() else slurm.address()


def command(nodes: int) -> Sequence[str]:
    """What starts, and is, a process on each of the machines 1 to `nodes` - 1.

    It takes a cell's folder, its limits and the first process' place as further arguments, hands on the end of its
    standard input, and ends with the status of a process that did not end well.
    """
    return torchrun.command() if torchrun.machines() else slurm.command(nodes)
