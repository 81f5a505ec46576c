"""Windows of clips, decoded by several threads when they are asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdebench.data import pixels
from pdebench.data.clips import pictures, video
from pdebench.data.clips.layout import Clip
from pdebench.data.clips.video import Looked
from pdebench.data.rows import FilledRows
from pdebench.data.shards.rows import usable_threads
from pdebench.errors import DataError
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True)
class KnownClip:
    """A clip, what it holds, and its files as they lay there when it was looked at."""

    clip: Clip
    looked: Looked
    stamps: tuple[disk.Stamp | None, ...]


class ClipRows(FilledRows):
    """Rows (N, 3, T, R, R) uint8: each frame is cropped to its centred square and resized, as images are.

    Attributes:
        clips: that windows are of.
        windows: (clip, first frame) of each row.
        stride: frames of a clip from one frame of a row to the next.
    """

    def __init__(
        self, clips: Sequence[KnownClip], windows: Sequence[tuple[int, int]], frames: int, stride: int, resolution: int
    ) -> None:
        import numpy as np

        self.clips, self.windows, self.stride, self.resolution = clips, windows, stride, resolution
        self.shape = (len(windows), 3, frames, resolution, resolution)
        self.dtype = np.dtype(np.uint8)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        pixels.formats()  # Pillow looks for its decoders once, before there are threads
        pixels.quiet()

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """A clip that is not what it was when it was looked at is a DataError."""

        def one(at: int) -> None:
            for number, image in enumerate(self._frames(*self.windows[int(wanted[at])])):
                found[at, :, number] = pixels.centre_crop(image, self.resolution)

        if len(wanted) == 1:
            one(0)
        else:
            list(self._threads().map(one, range(len(wanted))))

    def _frames(self, number: int, begin: int) -> Iterator[Image.Image]:
        held = self.clips[number]
        clip, wanted = held.clip, range(begin, begin + self.shape[2] * self.stride, self.stride)
        used = [clip.paths[at] for at in wanted] if clip.kind == "frames" else list(clip.paths)
        known = dict(zip(clip.paths, held.stamps, strict=True))
        for path in used:
            if disk.stamp(path.resolve()) != known[path]:
                raise DataError(f"{path} was changed since it was looked at: run again once nobody writes there")
        try:
            if clip.kind == "video":
                yield from video.frames(clip.video, wanted, held.looked.times)
            elif clip.kind == "animation":
                yield from pictures.animation(used[0], wanted)
            else:
                yield from pictures.pictures(used)
        except pixels.Damaged as error:
            raise DataError(f"{clip.name} could be decoded before, and cannot now: {error}") from error

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():  # a fork has none of its parent's threads
                self._process, self._pool = os.getpid(), ThreadPoolExecutor(usable_threads(), "decoding")
            return self._pool

    def __getstate__(self) -> dict[str, Any]:
        """Locks and threads stay with their process."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()
