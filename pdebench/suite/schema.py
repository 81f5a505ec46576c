"""The JSON Schema of a suite file, for editors that complete and check YAML while it is written.

It offers names and options and refuses what a schema can refuse; `load_suite` remains the judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdebench.data.registry import SOURCES
from pdebench.metrics.registry import METRICS
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.models.sizes import SIZES
from pdebench.suite.config import DEFAULT_TASK, GIVEN, SECTIONS, Header, MatchConfig, given
from pdebench.suite.validation import OVERALL, fields, options_of
from pdebench.tasks.registry import TASKS

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a suite file."""
    sections = {section: _fields(section) for section in GIVEN}
    options = {family: options_of(family) for family in FAMILIES.at_hand()}
    any_option = _merged(options)
    values = {f"{s}.{key}": schema for s, keys in sections.items() for key, schema in keys.items()}
    values |= {f"model.{key}": schema for key, schema in any_option.items()}
    swept = {
        key: _list(schema, f"Values to compare. {schema.get('description', '')}") for key, schema in values.items()
    }
    entry = {**_object(values), "minProperties": 1}
    properties: Schema = dict(fields(Header))
    properties["task"] = {**properties["task"], "enum": list(TASKS)}
    for section, model in GIVEN.items():
        keys = sections[section] | (any_option if section == "model" else {})
        properties[section] = {**_object(keys), "description": _first_line(model)}
    match = dict(fields(MatchConfig))
    match["to"] = {**match["to"], "enum": list(FAMILIES.at_hand())}
    properties["match"] = {**_object(match), "required": ["by", "to"], "description": _first_line(MatchConfig)}
    for section in ("limits", "execution"):
        properties[section] = {**_object(fields(OVERALL[section])), "description": _first_line(OVERALL[section])}
    grid = {"$ref": "#/$defs/grid"}
    properties["grid"] = {
        "anyOf": [grid, {"type": "array", "items": grid, "minItems": 1}],
        "description": "Every combination of these is a cell; keys are dotted, such as model.family. Or a list of such "
        "grids, whose combinations are run one grid after another.",
    }
    properties["include"] = _entries(
        entry,
        "Values added to the combinations whose own values they leave alone; else one more combination.",
    )
    # Only what the grid sweeps can be excluded, but a schema cannot say so.
    properties["exclude"] = _entries(entry, "Combinations to leave out: those that have all these values.")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pdebench suite",
        "description": "A study: what to compare, on what data, for how long, measured how.",
        **_object(properties),
        "required": ["suite"],
        "$defs": {"grid": {**_object(swept), "minProperties": 1}},
        "allOf": [_one_family(options), _sized_by_match(), _stepped_by_budget(), *_required()],
    }


def _fields(section: str) -> Schema:
    """The fields of a section, registered names as enums."""
    keys = dict(fields(given(DEFAULT_TASK)[section]))
    if section in ("train", "evaluate"):
        keys |= _of_any_task(section)
    if section == "data":
        keys["name"] = {**keys["name"], "enum": list(SOURCES.at_hand())}
    elif section == "model":
        keys["family"] = {**keys["family"], "enum": list(FAMILIES.at_hand())}
        keys["size"] = {**keys["size"], "enum": list(SIZES)}
    elif section == "evaluate":
        metrics = {"type": "string", "enum": list(METRICS.at_hand())}
        keys["metrics"] = {**keys["metrics"], "items": metrics, "uniqueItems": True}
    return keys


def _of_any_task(section: str) -> dict[str, Schema]:
    """What a section has in some task; a key that tasks define differently may be as any of them has it."""
    found: dict[str, list[Schema]] = {}
    for task in TASKS.at_hand():
        for key, field in fields(given(task)[section]).items():
            if field not in found.setdefault(key, []):
                found[key].append(field)
    return {key: several[0] if len(several) == 1 else _any_of(several) for key, several in found.items()}


def _any_of(schemas: list[Schema]) -> Schema:
    """As any of them has it; the default is its task's own."""
    told = dict.fromkeys(schema["description"] for schema in schemas)
    shapes = [{key: one for key, one in schema.items() if key not in ("default", "description")} for schema in schemas]
    return {"anyOf": shapes, "description": " Or: ".join(told)}


def _merged(options: Mapping[str, Schema]) -> Schema:
    """The options of all families; one that families define differently may be as any of them has it."""
    merged: Schema = {}
    for key in dict.fromkeys(key for family in options.values() for key in family):
        takers = {family: schemas[key] for family, schemas in options.items() if key in schemas}
        distinct = [schema for i, schema in enumerate(list(takers.values())) if schema not in list(takers.values())[:i]]
        text = next((schema["description"] for schema in distinct if "description" in schema), "")
        whose = f"Option of {', '.join(takers)}: {text}".rstrip(": ")
        shape = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
        # The default is the family's own, and stands with it.
        merged[key] = {**{k: v for k, v in shape.items() if k != "default"}, "description": whose}
    return merged


def _one_family(options: Mapping[str, Schema]) -> Schema:
    """Where neither grid nor include may change the family, `model` takes the options of its family only."""
    choices = [
        {
            "if": {"properties": {"family": {"const": family}}, "required": ["family"]},
            "then": _object({**dict.fromkeys(fields(SECTIONS["model"]), True), **keys}),
        }
        for family, keys in options.items()
    ]
    changed = {"anyOf": [_sweeps("model.family"), {"required": ["include"]}]}
    return {"if": {"not": changed}, "then": {"properties": {"model": {"allOf": choices}}}}


def _sized_by_match() -> Schema:
    """A match chooses the models' dimensions, so that none is given."""
    unset = {key: {"type": "null"} for key in Dimensions._fields}
    grid = {f"model.{key}": {"items": null} for key, null in unset.items()}
    entry = {f"model.{key}": null for key, null in unset.items()}
    without = {
        "model": {"properties": unset},
        "grid": {"anyOf": [{"type": "object", "properties": grid}, {"type": "array", "items": {"properties": grid}}]},
        "include": {"items": {"properties": entry}},
    }
    return {"if": {"required": ["match"]}, "then": {"properties": without}}


def _stepped_by_budget() -> Schema:
    """A budget chooses the steps of each cell, so that none are given."""
    without = {"train": {"not": {"required": ["steps"]}}, "grid": {"not": _swept("train.steps")}}
    return {"if": {"anyOf": _BUDGETS}, "then": {"properties": without}}


def _required() -> list[Schema]:
    """A key without a default stands in its section, in the grid or (not checked here) in an include.

    Or it is the steps, and follows from a budget.
    """
    needed = [
        (section, key)
        for section, model in SECTIONS.items()
        for key, field in model.model_fields.items()
        if field.is_required()
    ]
    return [
        {
            "anyOf": [
                *(_has(section, key), _sweeps(f"{section}.{key}"), {"required": ["include"]}),
                *(_BUDGETS if key == "steps" else []),
            ]
        }
        for section, key in needed
    ]


def _has(section: str, key: str) -> Schema:
    return {"properties": {section: {"required": [key]}}, "required": [section]}


def _sweeps(key: str) -> Schema:
    """The grid, or one of several, has the key."""
    return {"properties": {"grid": _swept(key)}, "required": ["grid"]}


def _swept(key: str) -> Schema:
    one = {"type": "object", "required": [key]}
    return {"anyOf": [one, {"type": "array", "contains": one}]}


_BUDGETS = [_has("budget", "train_flops"), _sweeps("budget.train_flops")]


def _object(properties: Mapping[str, Any]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _list(items: Schema, description: str) -> Schema:
    return {
        "type": "array",
        "items": items,
        "minItems": 1,
        "uniqueItems": True,
        "description": description.strip(),
    }


def _entries(entry: Schema, description: str) -> Schema:
    return {"type": "array", "items": entry, "minItems": 1, "description": description}


def _first_line(model: type) -> str:
    return (model.__doc__ or "").partition("\n")[0]
