"""Which files of a folder pdebench wrote: `.pdebench.sha256`, a line for each with its checksum and name.

A file is ours while it holds what we once wrote under its name. Whatever else lies there, links included, is
somebody's: it is neither replaced nor removed. A checksum is added before its file is written, and lines are only ever
added, so that neither a kill between the two nor several runs in one folder leave a file of ours unknown.

What older versions left, which kept no manifest, is known by how it begins (`_OLDER`). It may be replaced by a file of
the same name, but is not removed. Imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pdebench.errors import PdebenchError, ResultsError, refused_by_system
from pdebench.files import disk
from pdebench.files.yaml_source import dump_yaml, read_text

MANIFEST = ".pdebench.sha256"
_LARGEST = 64 * 2**20  # bytes of a manifest, or of an older file that is looked into
_LINE = re.compile(r"([0-9a-f]{64}) ([ *])(\S+)")  # with a star: of an older version
_ELSEWHERE = "choose another folder"

# How files of older versions begin, and what follows there, in this order.
_OLDER: dict[str, tuple[bytes, ...]] = {
    "suite.yaml": (b"suite: ", b"\ntask: ", b"\ndata:\n", b"\nmodel:\n", b"\ntrain:\n", b"\nevaluate:\n"),
    "plan.json": (b'[\n "', b'"\n]\n'),
    "machine.json": (b'{\n "machine_fingerprint": ',),
    "predictions.json": (b'{\n "suite": ', b'\n "device": {'),
    "table.csv": (b"suite,cell,status,message,",),
    "table.parquet": (b"PAR1", b"status", b"finished_at", b"PAR1"),
    "curves.parquet": (b"PAR1", b"train_loss", b"grad_norm", b"PAR1"),
    "report.html": (b"<!doctype html>", b": pdebench report</title>"),
    "spatial.json": (b'{"grid":[', b'"mixers":'),
    "receptive_field.png": (b"\x89PNG",),
    "impulse_response.png": (b"\x89PNG",),
    "frequency_response.png": (b"\x89PNG",),
    "mixing_length.png": (b"\x89PNG",),
    "physics.png": (b"\x89PNG",),
}
_OF_US = ("report.html", "suite.yaml", "spatial.json")  # a folder with one of these is one of ours
_OLDER_IN: dict[str, dict[str, tuple[bytes, ...]]] = {
    "report/figures": {".svg": (b"<svg ",), ".pdf": (b"%PDF",), ".png": (b"\x89PNG",)},
    "report/tables": {".csv": (b"",), ".parquet": (b"PAR1",), ".md": (b"|",), ".tex": (b"", b"\\begin{tabular}")},
}


class Manifest:
    """The files that pdebench wrote below a folder, which may itself be reached through links."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / MANIFEST

    def refuse_foreign(self, names: Iterable[str]) -> None:
        """Check that writing files of these names, relative to the folder, takes nothing of anybody else's.

        Raises:
            ResultsError: one of them is there and not ours, or a link leads to it.
        """
        if not os.path.lexists(self._file):
            self._add(list(self._older()))
        known = self._known()
        for name in names:
            path = self.folder / name
            if (link := disk.is_link_below(self.folder, path)) is not None:
                raise ResultsError(f"{link} is a link, and pdebench writes through none: remove it, or {_ELSEWHERE}")
            if not os.path.lexists(path):
                continue
            found = _checksum(path)
            if found not in known.get(name, {}) and found not in self._known().get(name, {}):  # another run may write
                raise ResultsError(
                    f"{path} is not as pdebench wrote it, and would be lost: move it away, or {_ELSEWHERE}"
                )

    def wrote(self, name: str) -> bool:
        """Whether the file of that name is there as we wrote it."""
        path = self.folder / name
        found = None if disk.is_link_below(self.folder, path) else _checksum(path)
        return self._known().get(name, {}).get(found) == " "

    def add(self, name: str, content: bytes) -> None:
        """Remember what is about to be written under a name, after a look that nothing is lost by it.

        Raises:
            ResultsError: see `refuse_foreign`; or the manifest cannot be written.
        """
        self.refuse_foreign([name])
        checksum = hashlib.sha256(content).hexdigest()
        if self._known().get(name, {}).get(checksum) != " ":
            self._add([(checksum, " ", name)])

    def _known(self) -> dict[str, dict[str | None, str]]:
        """Checksums by name, each with its mark; a line that a kill cut short is none."""
        try:
            text = disk.read_plain(self._file, _LARGEST).decode(errors="replace")
        except FileNotFoundError:
            return {}
        except (OSError, disk.NotPlain) as error:
            raise self._unusable(error) from None
        known: dict[str, dict[str | None, str]] = {}
        for line in text.split("\n"):
            if match := _LINE.fullmatch(line):
                known.setdefault(match[3], {})[match[1]] = match[2]
        return known

    def _add(self, entries: Iterable[tuple[str, str, str]]) -> None:
        lines = "".join(f"\n{checksum} {mark}{name}" for checksum, mark, name in entries)
        if not lines:
            return
        try:
            with disk.append_plain(self._file) as file:
                file.write(f"{lines}\n".encode())  # at once: no line of another run comes in between
                file.flush()
                os.fsync(file.fileno())
        except (OSError, disk.NotPlain) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> ResultsError:
        return ResultsError(f"cannot use {self._file}: {refused_by_system(error) or error}; mend it, or {_ELSEWHERE}")

    def _older(self) -> Iterator[tuple[str, str, str]]:
        """What an older version left in a folder that it made, or wrote into."""
        if not any(_matches(self.folder, name, _OLDER[name]) for name in _OF_US):
            return
        wanted = dict(_OLDER)
        for place, suffixes in _OLDER_IN.items():
            if (self.folder / place).is_dir():
                for path in sorted((self.folder / place).iterdir()):
                    if path.suffix in suffixes:
                        wanted[f"{place}/{path.name}"] = suffixes[path.suffix]
        for name, begins in wanted.items():
            if _matches(self.folder, name, begins) and (found := _checksum(self.folder / name)):
                yield found, "*", name


def _checksum(path: Path) -> str | None:
    """The sha256 of a plain file; None for anything else, and for what is not handed out."""
    try:
        with disk.open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, disk.NotPlain):
        return None


def _matches(folder: Path, name: str, parts: Sequence[bytes]) -> bool:
    """Whether a file begins as an older version wrote it, and is reached through no link."""
    if disk.is_link_below(folder, folder / name) is not None:
        return False
    try:
        content = disk.read_plain(folder / name, _LARGEST).removeprefix(b"folder,")  # a table of several folders
    except (OSError, disk.NotPlain):
        return False
    at = len(parts[0])
    for part in parts[1:]:
        if (found := content.find(part, at)) < 0:
            return False
        at = found + len(part)
    return content.startswith(parts[0]) and (name != "suite.yaml" or _as_dumped(content))


def _as_dumped(content: bytes) -> bool:
    """Whether YAML is as we write it, to the byte: what somebody wrote by hand has comments, or other spaces."""
    try:
        return dump_yaml(read_text(content.decode(), "").data).encode() == content
    except (PdebenchError, ValueError, RecursionError):
        return False
