"""The files of the photographs: out of packages that the user has, or that apt fetches from the system's own archive.

Each is kept in the cache under its sha256, which it has whenever it is read. Nobody is asked who is not in the system's
own list of archives, and nothing is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from pdebench.data.cache import cache_folder, check_cache
from pdebench.data.list_phrases import few
from pdebench.data.photographs import table
from pdebench.data.photographs.deb import read_files
from pdebench.data.photographs.table import PACKAGES, RELEASE, Photograph
from pdebench.errors import DataError
from pdebench.files import disk

_APT = "apt-get"
_ELSEWHERE = "put its .deb in a folder, and set data.path to that"


def kept(photograph: Photograph) -> Path:
    """Where the cache has its file, if it does."""
    return cache_folder() / "photographs" / f"{photograph.sha256}{Path(photograph.file).suffix}"


def missing() -> list[Photograph]:
    """Those whose files are not in the cache."""
    return [one for one in table.PHOTOGRAPHS if not kept(one).is_file()]


def check(folder: Path | None, download: bool) -> None:
    """DataError where files are missing and are not to be had, as far as can be seen without looking into packages."""
    check_cache()
    if folder is not None and not disk.expanded(folder).is_dir():
        raise DataError(f"data.path: there is no folder {folder}: data set 'photographs' reads .deb files from one")
    if not (lacking := missing()):
        return
    names = sorted({one.package for one in lacking})
    if folder is not None:
        if absent := [name for name in names if not _packages_in(folder, name)]:
            more = f"{RELEASE} has it" if len(absent) == 1 else f"{RELEASE} has them"
            raise DataError(f"data.path: {folder} has no {few([f'{name}_*.deb' for name in absent])}; {more}")
    elif not download:
        megabytes = sum(PACKAGES[name].size for name in names) / 1e6
        raise DataError(
            f"{len(lacking)} photographs are not on this machine: set data.download: true to have apt fetch their "
            f"packages ({megabytes:.0f} MB), or data.path to a folder with the .deb files of {few(names)}"
        )
    elif shutil.which(_APT) is None:
        raise DataError(
            f"data set 'photographs' is fetched by {_APT}, which this system does not have: set data.path to a folder "
            f"with the .deb files of {few(names)} of {RELEASE}"
        )


def gather(folder: Path | None) -> None:
    """See that every file is in the cache: from the packages in `folder`, or, where it is None, by apt.

    Raises:
        DataError: some package, or file in it, is not to be had, is damaged, or is not the one that is pinned.
        OSError: the cache cannot be written.
    """
    lacking: dict[str, list[Photograph]] = {}
    for one in missing():
        lacking.setdefault(one.package, []).append(one)
    if not lacking:
        return
    (cache_folder() / "photographs").mkdir(parents=True, exist_ok=True)
    for name, wanted in lacking.items():
        if folder is not None:
            _take(name, wanted, _packages_in(folder, name))
        else:
            with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".apt-") as place:
                _fetch(name, Path(place))
                _take(name, wanted, _packages_in(Path(place), name))


def read(photograph: Photograph) -> bytes:
    """What its file in the cache holds; DataError where that is not what was put there."""
    try:
        data = disk.read_plain(kept(photograph), 2**26)
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {kept(photograph)}: {error}") from None
    if hashlib.sha256(data).hexdigest() != photograph.sha256:
        raise DataError(f"{kept(photograph)} was altered since it was put there: delete it and run again")
    return data


def _packages_in(folder: Path, name: str) -> list[Path]:
    """The files that are called as versions of a package are."""
    return sorted(disk.expanded(folder).glob(f"{name}_*.deb"))


def _take(name: str, wanted: Sequence[Photograph], packages: Iterable[Path]) -> None:
    """Put the files of one package into the cache; of several versions of it, those that have them."""
    left = {one.file: one for one in wanted}
    said = f"data.path: no {name}_*.deb is there"
    for package in packages:
        found = read_files(package, left)
        said = _what_is_wrong(package.name, left, found)
        for file, data in found.items():
            if hashlib.sha256(data).hexdigest() == left[file].sha256:
                with disk.replacing(kept(left.pop(file))) as stream:
                    stream.write(data)
        if not left:
            return
    raise DataError(
        f"{said}: data set 'photographs' is of {name} {PACKAGES[name].version}, as {RELEASE} has it; {_ELSEWHERE}"
    )


def _what_is_wrong(package: str, wanted: Iterable[str], found: dict[str, bytes]) -> str:
    if absent := [file for file in wanted if file not in found]:
        return f"{package} has no {few(absent)}"
    return f"a photograph in {package} differs from what pdebench pins by checksum, so results would not be comparable"


def _fetch(name: str, place: Path) -> None:
    """Have apt download a package, which needs no root; it checks it against the archive's signed index."""
    try:
        asked = subprocess.run(
            [_APT, "download", "--quiet", name],
            cwd=place,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        raise DataError(f"{_APT} cannot be run: {error.strerror}") from None
    if asked.returncode == 0 and _packages_in(place, name):
        return
    errors = [line[3:] for line in asked.stderr.splitlines() if line.startswith("E: ")]
    if any("Unable to locate package" in line or "No packages found" in line for line in errors):
        raise DataError(
            f"apt knows no package {name}: let root run `apt-get update`; where the system's archive has none, "
            f"{RELEASE} does: {_ELSEWHERE}"
        )
    said = errors[0] if errors else f"it ended with status {asked.returncode}"
    raise DataError(f"apt cannot fetch {name} ({said}): see that the network is there, or {_ELSEWHERE}")
