"""The frames of a video file, in the order in which they are shown, by PyAV, whose wheels bring FFmpeg's libraries.

A file is opened by us, as the one container that its name says: libavformat, left to guess, would take a playlist for a
video and open what that names, on the network too. Nothing is resampled in time.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pdebench.data.pixels import Damaged
from pdebench.data.shards.window import Window
from pdebench.errors import DataError, out_of_memory, refused_by_system
from pdebench.files import disk
from pdebench.installing import install_extra

if TYPE_CHECKING:
    from io import BufferedReader

    from PIL import Image

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".avi": "avi",
    ".webm": "matroska",
    ".mkv": "matroska",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
}
"""libavformat's demuxers, by how the names of files end, in lower case."""

_SOUGHT = 64  # frames before a window that are decoded for nothing, rather than looked for where a decoder can begin
_UNEVEN = 2  # ticks of a container's clock that frames of an even rate may be off, which it rounds to


class Video(NamedTuple):
    """Where the bytes of a video lie: a file, or a part of one, as of an archive.

    Attributes:
        path: of the file.
        suffix: one of `CONTAINERS`, by which it is opened.
        offset: where it begins there.
        size: how many bytes there are; None: all that follow.
    """

    path: Path
    suffix: str
    offset: int = 0
    size: int | None = None


class Looked(NamedTuple):
    """What a clip holds.

    Attributes:
        frames: how many can be decoded.
        width, height: of a frame, upright.
        rate: frames a second; 0: not known.
        even: frames follow each other at one interval, as far as is known.
        times: of each frame, in ticks; empty where they are not known or do not tell frames apart.
    """

    frames: int
    width: int
    height: int
    rate: float = 0.0
    even: bool = True
    times: tuple[int, ...] = ()


def require(source: str, suffixes: Iterable[str]) -> None:
    """Raise DataError, with what installs it, where PyAV is missing; `suffixes` are of the files that need it."""
    if importlib.util.find_spec("av") is None:
        kinds = ", ".join(sorted(suffixes))
        raise DataError(f"data set '{source}' needs the package av for {kinds} files: {install_extra('video')}")


def versions() -> str:
    """What decodes: another version may round otherwise."""
    import av

    return repr((av.__version__, sorted(av.library_versions.items())))


def look(video: Video) -> Looked:
    """Decode a video once, to know what is in it.

    Raises:
        Damaged: it cannot be decoded, in whole, or is of frames of several sizes.
        DataError, MemoryError: that cannot be told here and now.
    """
    times: list[int | None] = []
    sizes: dict[tuple[int, int], None] = {}
    with _opened(video) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        for frame in _decoded(container):
            times.append(frame.pts)
            sizes[_upright_size(frame)] = None
    if not times:
        raise Damaged("it has no frames")
    if len(sizes) > 1:
        raise Damaged(f"its frames are of {len(sizes)} sizes, such as {_sizes(list(sizes))}")
    known = [time for time in times if time is not None]
    told_apart = len(known) == len(times) and all(a < b for a, b in pairwise(known))
    steps = [b - a for a, b in pairwise(known)] or [0]
    even = not told_apart or max(steps) - min(steps) <= _UNEVEN
    return Looked(len(times), *next(iter(sizes)), rate, even, tuple(known) if told_apart else ())


def frames(video: Video, wanted: Sequence[int], times: Sequence[int]) -> Iterator[Image.Image]:
    """Frames of a video, RGB, by their numbers, which rise; `times` are those of all its frames, as `look` gave them.

    Where times are known, decoding begins at the last key frame before, else at the first frame of the file.

    Raises:
        Damaged: they are not there.
    """
    if times and wanted[0] > _SOUGHT:
        found = list(_sought(video, [times[number] for number in wanted]))
        if len(found) == len(wanted):
            yield from found
            return  # what cannot be found so is in a file that its container describes wrongly: it is read through
    left = set(wanted)
    with _opened(video) as container:
        for number, frame in enumerate(_decoded(container)):
            if number in left:
                left.remove(number)
                yield _upright(frame)
            if not left:
                return
    raise Damaged(f"it ends before frame {max(left):,}")


def _sought(video: Video, times: Sequence[int]) -> Iterator[Image.Image]:
    """The frames of these times, from the last key frame before them on; fewer where that does not find them."""
    with _opened(video) as container:
        container.seek(times[0], stream=container.streams.video[0], backward=True, any_frame=False)
        at = 0
        for frame in _decoded(container):
            if frame.pts is None or frame.pts > times[at]:
                return
            if frame.pts == times[at]:
                yield _upright(frame)
                at += 1
            if at == len(times):
                return


@contextmanager
def _opened(video: Video) -> Iterator[Any]:
    """A container with a video in it; what its bytes say is told from what happens to this process."""
    import av
    from av.error import FFmpegError

    try:
        with (
            disk.open_plain(video.path, follow=True) as file,
            av.open(_part(file, video), "r", format=CONTAINERS[video.suffix]) as container,
        ):
            if not container.streams.video:
                raise Damaged("it has no video in it")
            # clips are decoded side by side; a decoder's own threads would only wait for each other
            container.streams.video[0].codec_context.thread_count = 1
            yield container
    except FFmpegError as error:
        if out_of_memory(error) or isinstance(error, MemoryError):
            raise MemoryError(f"memory ran out while {video.path} was decoded") from error
        raise Damaged(" ".join((error.strerror or type(error).__name__).split())[:200]) from error
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {video.path}: {refused_by_system(error) or error}") from error


def _part(file: BufferedReader, video: Video) -> BufferedReader:
    """The bytes of a video as a file of their own."""
    return file if video.size is None else io.BufferedReader(Window(file.fileno(), video.offset, video.size))


def _decoded(container: Any) -> Iterator[Any]:
    for frame in container.decode(container.streams.video[0]):
        if frame.is_corrupt:
            raise Damaged("a frame of it is damaged")
        yield frame


def _upright_size(frame: Any) -> tuple[int, int]:
    turned = frame.rotation % 180 == 90
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def _upright(frame: Any) -> Image.Image:
    """A frame as it is to be shown: a telephone that was held upright says that its frames are to be turned."""
    from PIL import Image

    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    turn = turns.get(frame.rotation % 360)
    return image if turn is None else image.transpose(turn)


def _sizes(found: Sequence[tuple[int, int]]) -> str:
    return " and ".join(f"{width} x {height}" for width, height in found[:2])
