"""Clips for tests: frames whose content says which they are, in every container that is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CODECS = {
    ".mp4": ("libx264", "mp4", "yuv444p", {"crf": "10", "g": "24", "bf": "2"}),
    ".mov": ("libx264", "mov", "yuv444p", {"crf": "10", "x264-params": "open-gop=1:keyint=20:bframes=3"}),
    ".webm": ("libvpx-vp9", "webm", "yuv444p", {"crf": "10", "b": "0", "g": "30", "cpu-used": "8"}),
    ".avi": ("mpeg4", "avi", "yuv420p", {"q": "2", "bf": "2", "g": "12", "b": "4000000"}),
    ".mkv": ("ffv1", "matroska", "bgr0", {}),
}


def frames(count: int, seed: int = 0, size: tuple[int, int] = (32, 24)) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of large flat patches, of which no two are alike: codecs lose little of them."""
    random = np.random.default_rng(seed)
    width, height = size
    coarse = random.integers(0, 256, (count, 3, 4, 3), np.uint8)
    return coarse.repeat(height // 3, 1).repeat(width // 4, 2)


def write_video(path: Path, made: NDArray[np.uint8], times: Sequence[int] | None = None) -> Path:
    """Frames (T, H, W, 3) as a video of 25 a second, or shown at `times`, in 25ths of a second."""
    codec, container, pixels, options = CODECS[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = made.shape[1:3]
        stream.pix_fmt = pixels
        for number, image in enumerate(made):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = number if times is None else times[number]
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_frames(folder: Path, made: NDArray[np.uint8]) -> Path:
    """Frames (T, H, W, 3) as pictures, `1.png` on, whose names are in another order than their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(made, 1):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def write_animation(path: Path, made: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.fromarray(image) for image in made]
    first.save(path, save_all=True, append_images=rest, duration=40, lossless=True)
    return path
