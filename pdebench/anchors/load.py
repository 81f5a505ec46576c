"""Reads the published results that come with the package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pdebench.anchors.schema import Anchor, FamilyFile
from pdebench.errors import AnchorError, did_you_mean
from pdebench.files.yaml_source import read_text

T = TypeVar("T", bound=BaseModel)


@cache
def anchors() -> tuple[Anchor, ...]:
    """All of them, family by family, in the order of their files.

    Raises:
        AnchorError: a file is not written as `schema.FamilyFile` says, with the first thing that is wrong.
    """
    found: list[Anchor] = []
    folder = files("pdebench.anchors")
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml"):
            found += read_anchors(file.read_text(encoding="utf-8"), file.name)
    return tuple(found)


def read_anchors(text: str, file: str) -> list[Anchor]:
    """The entries of one file's text.

    Raises:
        AnchorError, SuiteError: it is not written so; `file` is what the sentence names.
    """
    whole = _checked(FamilyFile, read_text(text, file).data, file)
    family = {"family": whole.family, "backbone": whole.backbone}
    return [
        _checked(Anchor, {**family, **group.shared, **entry}, f"{file}, group {number}, entry {place}")
        for number, group in enumerate(whole.groups, 1)
        for place, entry in enumerate(group.anchors, 1)
    ]


def _checked(model: type[T], data: Mapping[str, Any], where: str) -> T:
    try:  # as JSON, whose strict reading takes a list for a tuple, and no text for a number
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise AnchorError(f"{where}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    one = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, one['loc'])) or 'entry'}: {one['msg']}"


def chosen(family: str | None = None, resolution: int | None = None, metric: str | None = None) -> list[Anchor]:
    """Those of a family as its paper calls it, of images of a side, with a metric; None: any.

    Raises:
        AnchorError: there are none; says what there is.
    """
    found = anchors()
    for what, asked, of in (
        ("family", family, lambda one: {one.family}),
        ("resolution", resolution, lambda one: {one.resolution}),
        ("metric", metric, lambda one: set(one.values)),
    ):
        if asked is None:
            continue
        kept = tuple(one for one in found if asked in of(one))
        if not kept:
            known = sorted({value for one in found for value in of(one)})
            raise AnchorError(f"no published result of {what} '{asked}' is kept; {_instead(asked, known)}")
        found = kept
    return list(found)


def _instead(asked: str | int, known: Iterable[Any]) -> str:
    if isinstance(asked, str):
        return did_you_mean(asked, map(str, known))
    return f"known: {', '.join(map(str, known))}"
