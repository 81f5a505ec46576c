"""The files that a set is in several of: a folder of them, a pattern that names them, or one; and the split of each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pdebench.data.folder_names import Named, hint, split_called
from pdebench.data.list_phrases import few
from pdebench.data.source import Split
from pdebench.errors import DataError
from pdebench.files.disk import expanded

_MOST = 100_000  # files that braces may name: `{0..99999999}` is a slip
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")


class Piece(NamedTuple):
    """A file of a set.

    Attributes:
        path: where it lies.
        name: its path from where the set begins: the folder, or what a pattern begins with.
        split: the split that it was given for; None: each sample's own hash decides.
    """

    path: Path
    name: str
    split: Split | None = None


class Pieces(NamedTuple):
    """The files of a set in a fixed order, and what is to be said of how they were read, a clause each."""

    files: tuple[Piece, ...]
    remarks: tuple[str, ...]


def find(
    path: Path, validation: Path | None, suffixes: Sequence[str], what: str, *, test_is_held_out: bool = False
) -> Pieces:
    """The files of a set.

    Args:
        path: a folder, a pattern (`*`, `?`, `[...]`, `{000..146}`, `{a,b}`), or a file.
        validation: the same for what is held out, where `path` does not hold it.
        suffixes: how the names of the files end in a folder, in lower case.
        what: the files in a sentence, such as "tar shards".
        test_is_held_out: files that are called `test` are, where none is called `val`; else they are not used.

    Raises:
        DataError: there are none, one is in both, or their names could be read in two ways.
    """
    files = listed(path, suffixes, what, "data.path")
    if validation is None:
        return _by_name(files, path, test_is_held_out)
    held_out = listed(validation, suffixes, what, "data.validation")
    real = {file.path.resolve(): file for file in files}
    if both := [file.name for file in held_out if file.path.resolve() in real]:
        raise DataError(f"data.validation: {few(both)} of {validation} are in data.path too, and cannot be in both")
    trained = tuple(file._replace(split="train") for file in files)
    return Pieces((*trained, *(file._replace(split="validation") for file in held_out)), ())


def listed(path: Path, suffixes: Sequence[str], what: str, key: str) -> tuple[Piece, ...]:
    """The files of a folder, a pattern or one file, each once, by name; DataError where there are none."""
    whole = expanded(path)
    try:
        if whole.is_dir():
            found = [file for file in sorted(whole.rglob("*")) if _is_piece(file, whole, suffixes)]
            if not found:
                raise DataError(f"{key}: no {what} in {whole}; looked for {', '.join(f'*{end}' for end in suffixes)}")
            return tuple(Piece(file, file.relative_to(whole).as_posix()) for file in found)
        if whole.exists():
            return (Piece(whole, whole.name),)
    except OSError as error:
        raise DataError(f"{key}: {str(whole)[:80]} cannot be read: {error.strerror}") from None
    named: dict[Path, None] = {}
    for one in _without_braces(str(whole), key):
        matches = sorted(glob.glob(one)) if glob.has_magic(one) else [one]  # noqa: PTH207 (of an absolute pattern)
        if not matches or not os.path.exists(matches[0]):  # noqa: PTH110 (a text may hold a null byte)
            more = (
                f", one of those that {whole} names" if one != str(whole) else "; a relative path begins at its suite"
            )
            raise DataError(f"{key}: there is no {one}{more}")
        named.update(dict.fromkeys(file for match in matches if (file := Path(match)).is_file()))
    if not named:
        raise DataError(f"{key}: no file is called as {whole} says")
    root = _root(str(whole))
    return tuple(Piece(file, file.relative_to(root).as_posix()) for file in named)


def _is_piece(file: Path, root: Path, suffixes: Sequence[str]) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and file.name.lower().endswith(tuple(suffixes)) and file.is_file()


def _without_braces(text: str, key: str) -> Iterator[str]:
    """Every text that one with braces stands for, in order."""
    if (found := _BRACES.search(text)) is None:
        yield text
        return
    if span := _RANGE.fullmatch(found[1]):
        low, high = int(span[1]), int(span[2])
        if not 0 <= high - low < _MOST:
            raise DataError(f"{key}: {found[0]} names no files, or more than {_MOST:,}: give the lower number first")
        words = [f"{number:0{len(span[1])}d}" for number in range(low, high + 1)]
    else:
        words = found[1].split(",")
    for word in words:
        yield from _without_braces(text[: found.start()] + word + text[found.end() :], key)


def _root(pattern: str) -> Path:
    """The folder before the first part that is a pattern."""
    parts = Path(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part) or "{" in part), len(parts) - 1)
    return Path(*parts[:fixed])


# ---- splits


def _by_name(files: Sequence[Piece], path: Path, test_is_held_out: bool) -> Pieces:
    """Splits as folders or the files themselves are called, where some are called `train` and others not."""
    called = {file: _called(file.name) for file in files}
    kinds = set(called.values()) - {None}
    if "train" not in kinds and {"validation", "test"} <= kinds:
        raise DataError(f"data.path: {path} has files called val and test and none called train: name one of the two")
    if not {"train"} < kinds:
        return Pieces(tuple(files), ())
    if odd := [file.name for file, split in called.items() if split is None]:
        raise DataError(
            f"data.path: of {path} some files are called as splits are, and {few(odd)} not: set data.path to those to "
            "train on, and data.validation to those to hold out"
        )
    if kinds == {"train", "test"} and test_is_held_out:
        called = {file: "validation" if split == "test" else split for file, split in called.items()}
    left_out = [file.name for file, split in called.items() if split == "test"]
    said = (f"of {few(left_out)} nothing is used, which is neither trained on nor held out",) if left_out else ()
    held_out = "validation" in called.values()
    used: list[Piece] = []
    for file, split in called.items():
        if split != "test":
            used.append(file._replace(split=split if held_out else None))
    return Pieces(tuple(used), said)


def _called(name: str) -> Named | None:
    """The split of the outermost folder that is called as one, else that which the file's own name speaks of."""
    *folders, file = name.split("/")
    return next((split for folder in folders if (split := split_called(folder))), None) or hint(file.split(".")[0])
