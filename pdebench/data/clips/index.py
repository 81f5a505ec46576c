"""What each clip of a set holds, found by decoding it once, and remembered in the cache by the bytes of the clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pdebench.data.cache import cache_folder
from pdebench.data.clips import pictures, video
from pdebench.data.clips.layout import Clip
from pdebench.data.clips.video import Looked
from pdebench.data.digests import file_digests
from pdebench.data.pixels import DECODE_RECIPE, Damaged
from pdebench.data.threads import in_threads
from pdebench.files.seal import read_sealed, write_sealed

_RECIPE = "clips-1"
_REMEMBERED = 256  # clips: what is lost where looking at them is interrupted
_LARGEST = 2**28  # bytes of what is remembered of so many


def digests_of(clips: Sequence[Clip]) -> list[str]:
    """Of each clip, of what its file or its frames in their order hold.

    Raises:
        DataError: a file cannot be read.
    """
    found = iter(file_digests([path for clip in clips for path in clip.paths]))
    digests = []
    for clip in clips:
        own = [next(found) for _ in clip.paths]
        digests.append(own[0] if clip.kind != "frames" else hashlib.sha256(" ".join(own).encode()).hexdigest())
    return digests


def looked_at(clips: Sequence[Clip], digests: Sequence[str]) -> list[Looked | str]:
    """What each clip holds, or why it cannot be used."""
    found: list[Looked | str] = []
    for begin in range(0, len(clips), _REMEMBERED):
        part = slice(begin, begin + _REMEMBERED)
        found += _part(clips[part], digests[part])
    return found


def _part(clips: Sequence[Clip], digests: Sequence[str]) -> list[Looked | str]:
    kinds = sorted({clip.kind for clip in clips})
    decides = json.dumps([_RECIPE, DECODE_RECIPE, decoders(kinds), list(digests)])
    kept = cache_folder() / f"clips-{hashlib.sha256(decides.encode()).hexdigest()[:32]}.json"
    if (known := read_sealed(kept, _LARGEST)) is not None:
        return [one if isinstance(one, str) else _read(one) for one in known["clips"]]
    found = in_threads(lambda some: [_look(clip) for clip in some], clips)
    with suppress(OSError):  # it takes time again, and no more
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(kept, {"clips": [one if isinstance(one, str) else list(one) for one in found]})
    return found


def decoders(kinds: Sequence[str]) -> str:
    """What decodes clips of these kinds: another version may round otherwise."""
    import PIL

    from pdebench.data import pixels

    pillow = [PIL.__version__, pixels.missing_decoders()] if {"animation", "frames"} & set(kinds) else []
    return repr((pillow, video.versions() if "video" in kinds else ""))


def _look(clip: Clip) -> Looked | str:
    try:
        if clip.kind == "video":
            return video.look(clip.video)
        return (
            pictures.look_at_animation(clip.paths[0])
            if clip.kind == "animation"
            else pictures.look_at_frames(clip.paths)
        )
    except Damaged as error:
        return str(error)


def _read(kept: Sequence[Any]) -> Looked:
    frames, width, height, rate, even, times = kept
    return Looked(frames, width, height, rate, even, tuple(times))
