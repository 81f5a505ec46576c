"""A cache of its own for each test, and one shared by tests that only read the packaged sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Data:
    """A suite's `data:` section."""

    name: str
    resolution: int = 32
    path: Path | None = None
    flip: bool = True
    validation: Path | None = None
    set: str | None = None
    download: bool = False
    channels: int | None = None
    classes: int | None = None
    autoencoder: str | None = None
    scale: tuple[float, ...] | None = None
    shift: tuple[float, ...] | None = None
    frames: int | None = None
    frame_stride: int = 1


@pytest.fixture
def data():
    return Data


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PDEBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def _shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture
def shared_cache(_shared, cache, monkeypatch):
    monkeypatch.setenv("PDEBENCH_CACHE", str(_shared))
    return _shared
