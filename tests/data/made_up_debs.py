"""Debian packages with photographs in them, made up, and what stands in for apt."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from pdebench.data.photographs.table import Photograph

PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def picture(seed: int, width: int = 300, height: int = 200) -> bytes:
    """A PNG with something at every scale, whose red says which it is: 10 times its seed."""
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 10 * seed, np.uint8)
    coarse = random.integers(0, 256, (height // 20 + 1, width // 20 + 1)).repeat(20, 0).repeat(20, 1)
    image[..., 1] = coarse[:height, :width]
    image[..., 2] = random.integers(0, 256, (height, width))
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def deb(files: Mapping[str, bytes], suffix: str = ".xz", data: bytes | None = None) -> bytes:
    """A package that installs files; `data` stands in for its `data.tar`, compressed, where it is given."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(f"./{name}")
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    packed = PACKERS[suffix](stream.getvalue()) if data is None else data
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", f"data.tar{suffix}": packed}
    return b"!<arch>\n" + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        for name, part in parts.items()
    )


PICTURES = {f"usr/share/backgrounds/{seed}.png": picture(seed) for seed in range(1, 9)}


def photographs(package: str = "mate-backgrounds") -> tuple[Photograph, ...]:
    """The pictures as rows of the table; 7 and 8 are held out."""
    return tuple(
        Photograph(
            Path(file).stem, Path(file).stem, "validation" if "/7." in file or "/8." in file else "train", 300, 200,
            "nobody", "CC0-1.0", package, file, hashlib.sha256(content).hexdigest(),
        )
        for file, content in PICTURES.items()
    )  # fmt: skip


def instead_of_apt(folder: Path, script: str) -> str:
    """A PATH on which `apt-get` is a shell script, and nothing else is but the system's own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"
