"""What is wrong with the data that a suite asks for, key by key, before anything is decoded; imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from pdebench.data import registry
from pdebench.errors import DataError
from pdebench.suite.config import DataConfig
from pdebench.suite.validation import Problem, of_data

_MOST = 8  # problems of one set


def data_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Everything that speaks against a `data:` section: a side that the set has not, a key that it does not read, a
    path at which nothing is. None of one that is no section: that is said elsewhere.
    """
    try:
        config = DataConfig.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError:
        return []
    return list(_problems(config))


@cache
def _problems(config: DataConfig) -> tuple[Problem, ...]:
    found: dict[str, Problem] = {}
    while len(found) < _MOST:
        try:
            registry.check(config)
            break
        except DataError as error:
            named = re.search(r"\bdata\.(\w+)", str(error))  # the message says what to change
            key = named[1] if named is not None and named[1] in DataConfig.model_fields else "name"
            if key in found:
                break
            found[key] = _said(config, key, str(error))
            if (further := _without(config, key)) is None:
                break
            config = further
    return tuple(found.values())


def _said(config: DataConfig, key: str, message: str) -> Problem:
    """What is wrong with a key; where it is so whatever the set holds, in the words in which each cell is told it."""
    source = registry.SOURCES.get(config.name)
    whatever = source is not None and source.wrong_key(config) == (key, message)
    return of_data(key, message) if whatever else replace(of_data(key, message), shared=())


def _without(config: DataConfig, key: str) -> DataConfig | None:
    """The same without what is wrong, to see what else is; None where nothing can stand in for it."""
    if key == "name":
        return None
    if key != "resolution":
        return config.model_copy(update={key: DataConfig.model_fields[key].get_default()})
    offered = registry.SOURCES[config.name].resolutions
    return None if offered is None else config.model_copy(update={key: offered[0]})
