"""The processes that share one cell, as each of them sees it: the one place that knows of ranks.

Whatever is random is drawn for all of them by every one, and each computes its share: what comes of it is what one
process would have found, to rounding. Nobody can tell a `World` of one process from none at all.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import psutil
import torch
from torch import nn

from pdebench.errors import SlotError, out_of_memory

# None in practice: a process that is lost is noticed by its end, and one that hangs by the cell's time limit.
PATIENCE = timedelta(days=7)
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a cell.

    Attributes:
        rank: which of them this is; the first, 0, alone writes files.
        size: how many they are.
        local: which of those on this machine this is.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device of this process: a GPU of its own, or the CPU that all share."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda") if self.size == 1 else torch.device("cuda", self.local)

    def part(self, count: int) -> slice:
        """This process' part of a batch of `count`, which `size` divides."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mine(self, count: int) -> range:
        """Which of `count` pieces of work, taken in turns, are this process'."""
        return range(self.rank, count, self.size)

    def rounds(self, pieces: Sequence[T], count: int) -> Iterator[list[T]]:
        """The results of `mine(count)`, a list for each turn in the order of the pieces, on every process."""
        for turn in range(-(-count // self.size)):
            ours = pieces[turn] if turn < len(pieces) else None
            if self.size == 1:
                everyone = [ours]
            else:
                import torch.distributed as dist

                everyone = [None] * self.size
                dist.all_gather_object(everyone, ours)
            yield everyone[: count - turn * self.size]  # type: ignore[misc]

    def mean(self, values: Sequence[float]) -> list[float]:
        """The means over the processes, the same on each."""
        return [total / self.size for total in self._reduced(values, "SUM")]

    def any(self, flag: bool) -> bool:
        """Whether it is set in any process."""
        return bool(self._reduced([flag], "MAX")[0])

    def same(self, number: float) -> bool:
        """Whether all processes have the same one."""
        low, high = self._reduced([-number, number], "MAX")
        return -low == high

    def wait(self) -> None:
        """Until every process has come here."""
        self._reduced([0], "MAX")

    @contextmanager
    def one_after_the_first(self) -> Iterator[None]:
        """The first process does this by itself, then the others at once: what it leaves on disk is theirs too."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def replica(self, model: nn.Module) -> nn.Module:
        """The model as training calls it: its gradients become the means over the processes."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        device = next(model.parameters()).device
        ids = [device] if device.type == "cuda" else None
        with warnings.catch_warnings():  # its name in torch 2.15; the one before serves from 2.9 on
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)

    def leave(self) -> None:
        """Let go of the others; nothing of them is asked for any more."""
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    def _reduced(self, values: Sequence[float], how: str) -> list[float]:
        """Of each value the sum or the largest over the processes; on the host, so no device is waited for."""
        if self.size == 1:
            return list(values)
        import torch.distributed as dist

        shared = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(shared, getattr(dist.ReduceOp, how))
        return shared.tolist()  # type: ignore[no-any-return]


ALONE = World()


@contextmanager
def local_gradients(model: nn.Module) -> Iterator[None]:
    """Backward passes in here add to the gradients of this process; the next one outside shares the sum."""
    sharing: Callable[[bool], None] | None = getattr(model, "set_requires_gradient_sync", None)
    if sharing is None:
        with getattr(model, "no_sync", nullcontext)():
            yield
        return
    sharing(False)
    try:
        yield
    finally:
        sharing(True)


def join(
    rank: int,
    size: int,
    port: int,
    listener: int | None = None,
    *,
    address: str = "127.0.0.1",
    local: int | None = None,
) -> World:
    """Meet the other processes of a cell.

    Args:
        rank: of this process.
        size: of the world; of one, nothing is imported or opened.
        port: where they meet.
        listener: in the first process, the file descriptor of a socket that listens there.
        address: of the first process' machine.
        local: which of those on this machine this is; None: all are on it.

    Raises:
        SlotError: they do not meet.
    """
    if size == 1:
        return ALONE
    import torch.distributed as dist

    # a name of this machine, by which gloo would choose, may lead to a network that it is not on
    if (interface := _interface(address)) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            address, port, size, is_master=rank == 0, master_listen_fd=listener
        )
    except dist.DistError as error:
        raise SlotError(f"the processes of the cell did not meet at {address}, port {port}: {error}") from error
    world = World(rank, size, rank if local is None else local)
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
        dist.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=rank, world_size=size, timeout=PATIENCE)
    else:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
    return world


def connection_lost(error: BaseException) -> bool:
    """Whether it says that another process, or the way to it, is gone."""
    import torch.distributed as dist

    known = isinstance(error, dist.DistError) and not out_of_memory(error)
    return known or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))


def _interface(address: str) -> str | None:
    """The name of this machine's network interface on the way to an address."""
    family, kind, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)  # of datagrams: nothing is sent
        own = probe.getsockname()[0]
    addresses = psutil.net_if_addrs().items()
    return next((name for name, known in addresses if any(one.address == own for one in known)), None)
