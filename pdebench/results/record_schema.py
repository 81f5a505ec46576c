"""What a record may be: names, types, ranges and sizes, checked once, where a record is read.

Records are read from folders that anybody may have filled. What passes here can be shown, drawn and fitted; what does
not is no record, and `fault` says why in a few words. Types and ranges of the configuration are those of its models;
options of families, which may be another package's, are only scalars or lists of them. Imports no pandas and no torch.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pdebench.column import Column
from pdebench.metrics.columns import COLUMNS as OF_METRICS
from pdebench.results.record import COLUMNS, STATUSES, declared_as
from pdebench.suite.config import DEFAULT_TASK, given
from pdebench.tasks.registry import TASKS
from pdebench.tasks.scores import is_metric

MOST_KEYS = 400  # of a record: twice what one has
LONGEST_NAME = 100  # characters of a key, and of what names a suite, a family or a data set in every chart
LONGEST_TEXT = 10_000  # characters of any text: a log's tail and a dozen warnings
LONGEST_ITEM = 200  # characters of a text in a list
MOST_ITEMS = 100  # of a list
LARGEST = 1e100  # of a number: its square is still one
FASTEST, SLOWEST = 1e-9, 1e15  # of timings, in their own units; what is beyond is no measurement

REQUIRED = ("suite", "cell", "status", "finished_at")
NAMES = ("suite", "model.family", "model.size", "model_name", "data.name")
MOMENTS = ("started_at", "finished_at")
WAITS = ("train_seconds", "sample_seconds", "data_wait_ms_median")  # timings that may be none at all

_READ = frozenset((*MOMENTS, "files"))  # texts that something is read from

_KEY = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{0,40})?(e(\+?\d{1,2}|-\d{1,3}))?", re.ASCII)  # a tail may be 1e-200
_HALF = re.compile("[\ud800-\udfff]")  # of a pair: no encoding can write it


@dataclass(frozen=True)
class _Rule:
    """What a column holds besides null: values of these types; numbers from `low` to `high`; texts of a length."""

    types: tuple[type, ...]
    low: float = -LARGEST
    high: float = LARGEST
    longest: int = LONGEST_TEXT
    above: bool = False  # `low` itself is too low
    below: bool = False  # `high` itself is too high


_TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "Int64": (int,), "Float64": (int, float), "boolean": (bool,)}
_ANY = _Rule((str, int, float, bool, list))
_WHOLE = 2**63  # what a column of whole numbers cannot hold any more


def fault(record: Mapping[str, Any], cell: str) -> str | None:
    """What makes this no record of `cell`, in a few words; None where it is one."""
    if len(record) > MOST_KEYS:
        return f"it has {len(record):,} keys, more than {MOST_KEYS}"
    for key in REQUIRED:
        if not isinstance(record.get(key), str) or not record[key]:
            return f"it has no {key}"
    if record["cell"] != cell:
        return f"it is of cell {record['cell'][:40]}"
    if record["status"] not in STATUSES:
        return f"its status is {record['status'][:40]!r}"
    rules = _rules()
    for key, value in record.items():
        if (rule := rules.get(key)) is None:
            if len(key) > LONGEST_NAME or not _KEY.fullmatch(key):
                return f"{key[:40]!r} is no name of a column"
            rule = _rule_of_name(key)
        # Most of what thousands of records hold, without a call.
        kind = type(value)
        if value is None:
            continue
        if kind in rule.types and (
            (kind is float and rule.low < value < rule.high)
            or (kind is str and key not in _READ and len(value) <= rule.longest and value.isascii())
            or kind is bool
        ):
            continue
        if (wrong := _wrong(key, value, rule)) is not None:
            return wrong
    return None


def trimmed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record that is about to be written, its texts cut to what may be read again, at their ends.

    What libraries say when they fail may be of any length, and hold anything.
    """

    def cut(text: str) -> str:
        text = _HALF.sub("\ufffd", text)
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"

    return {key: cut(value) if isinstance(value, str) else value for key, value in record.items()}


def from_table(key: str, value: Any, *, typed: bool) -> Any:
    """A value of a results table as its record had it; what is no such value is given as it is, for `fault` to name.

    Args:
        key: the column.
        value: of a cell; a list was written as a text with commas.
        typed: whether the table kept types; else the value is a text, empty where there is none.
    """
    kinds = (_rules().get(key) or _rule_of_name(key)).types
    if not isinstance(value, str):
        return None if isinstance(value, float) and math.isnan(value) else value
    if not typed:
        if not value:
            return None
        if bool in kinds and value in ("True", "False"):
            return value == "True"
        if (number := _number(value)) is not None and {int, float} & {*kinds}:
            return number
    if list in kinds and str not in kinds:
        items = [] if value in ("", "[]") else value.split(", ")
        return [item if (number := _number(item)) is None else number for item in items]
    return value


def _number(text: str) -> int | float | None:
    """A finite number as Python writes it; None of any other text."""
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdigit() and len(text) < 20 else float(text)


def _wrong(key: str, value: Any, rule: _Rule) -> str | None:
    """What is wrong with a value that is not null; 3.0 is a whole number."""
    kind = type(value)
    if kind not in rule.types and not (int in rule.types and _is_whole(value)):
        return f"{key} is {_shown(value)}"
    if kind is str:
        return _wrong_text(key, value, rule.longest)
    if kind is list:
        return _wrong_list(key, value)
    if kind is not bool and not _within(value, rule):
        return f"{key} is {_shown(value)}, which is out of range"
    return None


def _is_whole(value: Any) -> bool:
    return type(value) is float and value.is_integer() and abs(value) < _WHOLE


def _wrong_text(key: str, value: str, longest: int) -> str | None:
    if len(value) > longest:
        return f"{key} is a text of {len(value):,} characters, more than {longest:,}"
    if not value.isascii() and _HALF.search(value):
        return f"{key} holds half of a surrogate pair"
    if key == "files" and not _is_digests(value):
        return f"{key} is {_shown(value)}, which lists no files"
    if key in MOMENTS and not _is_moment(value):
        return f"{key} is {_shown(value)}, which is no date"
    return None


def _wrong_list(key: str, items: list[Any]) -> str | None:
    if len(items) > MOST_ITEMS:
        return f"{key} is a list of {len(items):,}, more than {MOST_ITEMS}"
    for item in items:
        if isinstance(item, str):
            fits = len(item) <= LONGEST_ITEM and _HALF.search(item) is None
        else:
            fits = item is None or (isinstance(item, int | float) and _within(item, _ANY))
        if not fits:
            return f"{key} is {_shown(items)}"
    return None


def _within(value: float, rule: _Rule) -> bool:
    """Whether a number is in range; NaN is in none."""
    if type(value) is int and not -_WHOLE <= value < _WHOLE:
        return False
    if not rule.low <= value <= rule.high:
        return False
    return not (rule.above and value == rule.low) and not (rule.below and value == rule.high)


def _is_digests(text: str) -> bool:
    """Whether a text is JSON of texts by name."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(isinstance(one, str) for one in found.values())


def _is_moment(text: str) -> bool:
    """Whether a text is a date with a time of ISO 8601, which compares with others as a text."""
    try:
        return "T" in text and 1970 <= datetime.fromisoformat(text).year < 2262  # what pandas can hold
    except ValueError:
        return False


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**30:  # Python does not write out one of thousands of digits
        return "a number of more than 30 digits"
    if isinstance(value, list):
        value = value[:3]
    return ascii(value)[:40]


@cache
def _rules() -> Mapping[str, _Rule]:
    """The rules of all columns that are known by name."""
    rules = {name: _rule_of_column(name, column) for name, column in {**COLUMNS, **OF_METRICS}.items()}
    rules["task"] = _Rule((str,), longest=LONGEST_NAME)
    for task in (*TASKS.built_in, DEFAULT_TASK):  # last the one whose records may name no task
        for section, model in given(task).items():
            for key, field in model.model_fields.items():
                rules[f"{section}.{key}"] = _either(rules.get(f"{section}.{key}"), _rule_of_field(field))
    return rules | dict.fromkeys(NAMES, _Rule((str,), longest=LONGEST_NAME))


def _either(one: _Rule | None, other: _Rule) -> _Rule:
    """What a key holds that tasks define differently: what any of them has."""
    if one is None or one == other:
        return other
    return _Rule(tuple(dict.fromkeys((*one.types, *other.types))), min(one.low, other.low), max(one.high, other.high))


@lru_cache(maxsize=1000)
def _rule_of_name(key: str) -> _Rule:
    """The rule of a column that is not ours: a score, what another package's task fills, or another version's."""
    if (declared := declared_as(key)) is not None:
        return _rule_of_column(key, declared)
    return _Rule(_TYPES["Float64"]) if is_metric(key) else _ANY


def _rule_of_column(name: str, column: Column) -> _Rule:
    kinds = _TYPES[column.dtype]
    if column.timed and column.signed:
        return _Rule(kinds, low=-SLOWEST, high=SLOWEST)
    if column.timed and column.dtype == "Float64":
        return _Rule(kinds, low=0 if name in WAITS else FASTEST, high=SLOWEST)
    return _Rule(kinds, low=-LARGEST if column.signed else 0, high=LARGEST)


def _rule_of_field(field: FieldInfo) -> _Rule:
    """The rule of a key of the configuration, from its model."""
    kinds = _kinds(field.annotation)
    rule = _Rule(kinds)
    for limit in field.metadata:
        low = getattr(limit, "gt", getattr(limit, "ge", None))
        high = getattr(limit, "lt", getattr(limit, "le", None))
        if low is not None:
            rule = _Rule(kinds, low, rule.high, above=hasattr(limit, "gt"), below=rule.below)
        if high is not None:
            rule = _Rule(kinds, rule.low, high, above=rule.above, below=hasattr(limit, "lt"))
    return rule


def _kinds(annotation: Any) -> tuple[type, ...]:
    """The types in which JSON has what a field holds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(dict.fromkeys(kind for part in get_args(annotation) for kind in _kinds(part)))
    if origin is Literal:
        return tuple(dict.fromkeys(type(value) for value in get_args(annotation)))
    if origin is tuple:
        return (list,)
    return {float: (int, float), Path: (str,), type(None): ()}.get(annotation, (annotation,))
