"""The batches of a training: drawn in order, read ahead by another thread, the same however often it is interrupted."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.data.space import SeenRows, Space
from pdebench.system.slots import available_cores

AHEAD = 3  # batches that are read while another is trained on

Augment = Callable[[Tensor, Tensor | None, Generator], Tensor]
"""Changes images (B, C, ...) of given labels at random, see `Learner.augment`."""


@dataclass(frozen=True)
class Images:
    """One split as it is trained on: `pixels` (N, C, H, W) as the data set has them, read a batch at a time.

    `labels` are int64 (N,) or None; `checksum` is of both, and `digest` counts it where nobody gave one. `mirrored` and
    `space` are those of an `ImageSet`.
    """

    pixels: Rows | Tensor
    labels: Tensor | None
    checksum: str | None = None
    mirrored: Rows | None = None
    space: Space | None = None

    def digest(self) -> str:
        """What tells these images and labels from all others."""
        if self.checksum is not None:
            return self.checksum
        pixels = torch.as_tensor(self.pixels[:])
        found = hashlib.sha256(repr((pixels.shape, pixels.dtype)).encode())
        for tensor in (pixels, self.labels):
            if tensor is not None:
                found.update(tensor.contiguous().numpy().data)
        return found.hexdigest()

    @property
    def seen(self) -> Rows | Tensor:
        """As `ImageSet.seen`."""
        return self.pixels if self.space is None else SeenRows(self.pixels, self.space)  # type: ignore[arg-type]

    def read(self, index: Tensor, mirror: Tensor | None = None, epoch: Tensor | int = 0) -> Tensor:
        """The images of an index (B,), those with `mirror` mirrored left to right; latents as a model sees them.

        `epoch`, one or one for each, says which draw of latents that are drawn.
        """
        rows = np.asarray(self.pixels[index.numpy()])
        if mirror is not None and mirror.any():
            turned = mirror.numpy()
            rows[turned] = rows[turned, ..., ::-1] if self.mirrored is None else self.mirrored[index.numpy()[turned]]
        if self.space is not None:
            rows = self.space.seen(rows, index.numpy(), epoch.numpy() if isinstance(epoch, Tensor) else epoch)
        return torch.from_numpy(rows)


def as_trained_on(images: ImageSet) -> Images:
    """A split of a data set, its labels in memory."""
    labels = None if images.labels is None else torch.from_numpy(np.array(images.labels))
    return Images(images.images, labels, images.checksum, images.mirrored, images.space)


class Batch(NamedTuple):
    """Images (B, C, H, W), and their labels (B,) or None."""

    images: Tensor
    labels: Tensor | None


class BatchState(NamedTuple):
    """Where a training is in its data: what is drawn and not yet given out, and the generator that draws."""

    left: Tensor
    random: Tensor


class Batches:
    """Endless batches: every epoch in a new order, no image twice in an epoch, no batch short.

    Orders and mirrorings are drawn from `generator` in the order of the batches, whoever reads them and when. `state`
    is that of the last batch that was given out: one who loads it is given the next. What is augmented is drawn from a
    source of its own for each image of each batch, so several threads may be at it.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        generator: Generator,
        part: slice = slice(None),
        *,
        flip: bool = False,
        pin: bool = False,
        count: int | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        """Args:
        images: of the set.
        batch_size: of the whole batch.
        generator: draws what is random; this owns it from now on.
        part: of each batch, what is given out.
        flip: mirror images left to right with probability 1/2.
        pin: into page-locked memory, for a GPU.
        count: how many will be asked for; None: not known.
        augment: changes each image, after it was mirrored; None: nothing does.
        seed: of what that draws.
        """
        self.images, self.batch_size, self.generator, self.part = images, batch_size, generator, part
        self.flip, self.pin, self.count = flip, pin, count
        self.augment, self.seed = augment, seed
        self._left = torch.empty(0, dtype=torch.int64)
        self._drawn = 0  # images of all batches so far: each epoch gives out every image once
        self._state = self._now()
        self._pending: deque[tuple[Future[Batch], BatchState]] = deque()
        # one reads a batch in no time; to augment it can take longer than a step
        threads = 1 if augment is None else max(1, min(AHEAD + 1, len(available_cores()) - 1))
        self._reader, self._reading = ThreadPoolExecutor(threads, "batches"), Lock()

    def state(self) -> BatchState:
        """That of the last batch that was given out."""
        return self._state

    def load(self, state: BatchState, batches: int) -> None:
        """Go on after so many batches, the last of which had this state."""
        self._pending.clear()
        self.generator.set_state(state.random)
        self._left, self._drawn = state.left, batches * self.batch_size
        self._state = self._now()

    def next(self) -> Batch:
        """Its part of the next batch."""
        while len(self._pending) <= AHEAD and self.count != 0:
            self._ask()
        reading, self._state = self._pending.popleft()
        return reading.result()

    def close(self) -> None:
        """Reads no further."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _ask(self) -> None:
        """Draw the next batch and have it read."""
        count, size = len(self.images.pixels), self.batch_size
        while len(self._left) < size:
            self._left = torch.cat([self._left, torch.randperm(count, generator=self.generator)])
        index, self._left = self._left[:size], self._left[size:]
        epoch, number = torch.arange(self._drawn, self._drawn + size) // count, self._drawn // size
        self._drawn += size
        mirror = torch.rand(size, generator=self.generator) < 0.5 if self.flip else None
        part = self.part
        mine = None if mirror is None else mirror[part]
        if self.count is not None:
            self.count -= 1
        self._pending.append((self._reader.submit(self._read, index[part], mine, epoch[part], number), self._now()))

    def _read(self, index: Tensor, mirror: Tensor | None, epoch: Tensor, number: int) -> Batch:
        with self._reading:  # files are read from one place at a time
            images = self.images.read(index, mirror, epoch)
        labels = None if self.images.labels is None else self.images.labels[index]
        if self.augment is not None:
            images = self._augmented(images, labels, number)
        if self.pin:
            return Batch(images.pin_memory(), None if labels is None else labels.pin_memory())
        return Batch(images, labels)

    def _augmented(self, images: Tensor, labels: Tensor | None, number: int) -> Tensor:
        """The images of a part of a batch, each changed by its own draws."""
        assert self.augment is not None
        first, _, _ = self.part.indices(self.batch_size)
        changed = []
        for place in range(len(images)):
            one = slice(place, place + 1)
            (drawn,) = np.random.SeedSequence([self.seed, number, first + place]).generate_state(1, np.uint64)
            source = Generator().manual_seed(int(drawn))
            changed.append(self.augment(images[one], None if labels is None else labels[one], source))
        return torch.cat(changed)

    def _now(self) -> BatchState:
        return BatchState(self._left.clone(), self.generator.get_state())  # a view would bring its epoch along
