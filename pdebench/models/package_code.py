"""The code of another package, found without importing it, for what is kept under a key that holds it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdebench.models.registry import Family

_OURS = __name__.partition(".")[0]
_CODE = (".py", ".pyc", ".so", ".pyd")


def source_of(family: Family) -> str | None:
    """The first 12 hexadecimal digits of a digest of another package's code; None of a family of ours.

    Its numbers are those of this code: two that differ are two mixers, whatever they are called.
    """
    digests = digests_of(family)
    if not digests or None in digests:
        return None
    return hashlib.sha256(" ".join(map(str, digests)).encode()).hexdigest()[:12]


def digests_of(family: Family) -> list[str | None]:
    """A digest of each other package that a family's mixer, options and handles come from."""
    handles = (getattr(handle, "func", handle) for handle in family.handles.values())  # of a partial, what it calls
    modules = {family.mixer.partition(":")[0], family.options.__module__, *(one.__module__ for one in handles)}
    packages = sorted({module.partition(".")[0] for module in modules} - {_OURS})
    return [digest_of_package(package) for package in packages]


@cache
def digest_of_package(name: str) -> str | None:
    """A digest of all Python and compiled files of a top-level package or module, and of its versions.

    None where its code is not to be found, or not to be read.
    """
    if (code := digest_of_code(name)) is None:
        return None
    versions = [(one, version(one)) for one in sorted(set(packages_distributions().get(name, ())))]
    return hashlib.sha256(f"{code} {versions}".encode()).hexdigest()


def digest_of_code(name: str) -> str | None:
    """A digest of the files alone; to find the versions takes a look at all that is installed."""
    found = hashlib.sha256()
    try:
        for relative, file in _files(name):
            content = file.read_bytes()
            found.update(f"{relative}\0{len(content)}\0".encode() + content)
    except (LookupError, OSError):
        return None
    return found.hexdigest()


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """The files of a top-level package or module, each with its name within.

    Raises:
        LookupError: there are none.
    """
    places = [Path(place) for place in _places(name)]
    if not places:
        raise LookupError(name)
    for place in places:
        file = next((path for path in (place, *place.parents) if path.exists()), place)  # it may lie in an archive
        if not file.is_dir():
            yield file.name, file
            continue
        inside = (path for path in file.rglob("*") if path.suffix in _CODE and "__pycache__" not in path.parts)
        for path in sorted(inside):
            yield path.relative_to(file).as_posix(), path


def _places(name: str) -> list[str]:
    """The folders of a package, the file of a module, or nothing."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # it was imported in some way that left no spec
        file = getattr(sys.modules.get(name), "__file__", None)
        return [file] if file else []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return sorted(spec.submodule_search_locations)
    return [spec.origin] if spec.origin and spec.has_location else []
