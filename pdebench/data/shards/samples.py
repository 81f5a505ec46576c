"""Which members of a shard are one sample: a picture or an array, or where clips are asked for a video; and its label.

The key is all up to the last dot of a name, so that `t0.25.png` and `t0.50.png` are two samples. Where a key has a
second picture, `a.png` beside `a.seg.png`, nobody can say which of them is meant, and the shard is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from pdebench.data import pixels
from pdebench.data.clips.video import CONTAINERS
from pdebench.data.shards.archive import Member, Other
from pdebench.errors import DataError, printable

ARRAY = ".npy"
_LABELS = (".cls", ".json", ".txt")  # the first that says a number counts
_LARGEST = 2**20  # bytes of a member that holds a label
MOST_CLASSES = 1_000_000
Kind = Literal["images", "clips"]
NO_DATA: dict[Kind, str] = {"images": "no picture or array has that name", "clips": "no video has that name"}
_UNKNOWN: dict[Kind, str] = {"images": "neither picture, array nor label", "clips": "neither video nor label"}

Read = Callable[[Member], bytes]


class Found(NamedTuple):
    """A sample: its key, the member that is its picture, array or video, and its label; None: it has none."""

    key: str
    member: Member
    label: int | None


def is_picture(name: str) -> bool:
    """Whether a member is a picture by its name."""
    return _parts(name)[1] in pixels.suffixes()


def is_video(name: str) -> bool:
    """Whether a member is a video by its name."""
    return _parts(name)[1] in CONTAINERS


def is_array(name: str) -> bool:
    """Whether a member is an array by its name."""
    return _parts(name)[1] == ARRAY


def samples(
    path: Path, members: Iterable[Member | Other], read: Read, kind: Kind = "images"
) -> tuple[list[Found], list[Other]]:
    """The samples of a shard in its order, and what is left out of it.

    Pictures beside videos are left out where clips are asked for, and videos beside pictures where they are not.

    Raises:
        DataError: a name is there twice, a key has several pictures, or a label is no number of a class.
    """
    data: dict[str, Member] = {}
    labels: dict[str, dict[str, Member]] = {}
    seen: set[str] = set()
    left_out: list[Other] = []
    for member in members:
        if isinstance(member, Other):
            left_out.append(member)
            continue
        if member.name in seen:
            raise DataError(f"data.path: {path} has {_shown(member.name)} twice: write it again with each name once")
        seen.add(member.name)
        key, suffix = _parts(member.name)
        if key.split("/")[0].startswith("__"):  # webdataset's own notes on a shard
            continue
        if is_video(member.name) if kind == "clips" else is_picture(member.name) or is_array(member.name):
            if key in data:
                raise _several(path, key, data[key].name, member.name)
            data[key] = member
        elif suffix in _LABELS:
            labels.setdefault(key, {})[suffix] = member
        else:
            left_out.append(Other(member.name, _UNKNOWN[kind]))
    _refuse_several(path, data, labels)
    found = [Found(key, member, _label(path, labels.pop(key, {}), read)) for key, member in data.items()]
    left_out += [Other(member.name, NO_DATA[kind]) for those in labels.values() for member in those.values()]
    return found, left_out


def _parts(name: str) -> tuple[str, str]:
    """Key and suffix, in lower case with its dot; a dot in a folder's name or at the begin of a name parts nothing."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return (folder + slash + stem, dot + suffix.lower()) if stem else (name, "")


def _refuse_several(path: Path, data: dict[str, Member], labels: dict[str, dict[str, Member]]) -> None:
    """Refuse `a.seg.png` beside another picture or label of `a`; a number, as in `t0.25.png`, is part of a key."""
    first: dict[str, str] = {}
    for key, member in data.items():
        base, suffix = _parts(key)
        if not suffix[1:2].isalpha():
            continue
        other = data[base].name if base in data else first.get(base)
        if other is None and base in labels:
            other = next(iter(labels[base].values())).name
        if other is not None:
            raise _several(path, base, other, member.name)
        first[base] = member.name


def _several(path: Path, key: str, one: str, other: str) -> DataError:
    return DataError(
        f"data.path: in {path} the key {_shown(key)} has both {_shown(one)} and {_shown(other)}: write shards with one "
        "picture, array or video for each key, KEY.png, and its label, KEY.cls"
    )


def _label(path: Path, beside: dict[str, Member], read: Read) -> int | None:
    for suffix in _LABELS:
        if (member := beside.get(suffix)) is None:
            continue
        text = read(member) if member.size <= _LARGEST else b""
        value = _from_json(text) if suffix == ".json" else _from_text(text)
        if value is None and suffix != ".cls":  # a caption, or notes that say no class
            continue
        if not isinstance(value, int) or not 0 <= value < MOST_CLASSES:
            raise DataError(
                f"data.path: the label {_shown(member.name)} in {path} is no whole number from 0 to "
                f"{MOST_CLASSES - 1:,}: {_shown(text[:40].decode(errors='replace'))!r}"
            )
        return value
    return None


def _from_text(text: bytes) -> int | None:
    try:
        return int(text) if len(text) < 32 else None
    except ValueError:
        return None


def _from_json(text: bytes) -> object:
    """What `label` or `cls` is in an object; None where it has neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    value = next((found[name] for name in ("label", "cls") if found.get(name) is not None), None)
    return str(value) if isinstance(value, bool) else value  # JSON's true is no class


def _shown(text: str) -> str:
    """A name of somebody else's as a sentence has it."""
    return " ".join(printable(text).split())[:120]
