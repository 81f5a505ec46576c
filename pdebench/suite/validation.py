"""What is wrong with a section or a cell, in plain sentences; pydantic finds it, its wording is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from pdebench.data.registry import SOURCES
from pdebench.errors import ModelError, SuiteError, did_you_mean, nearest
from pdebench.files.yaml_source import Where, YamlSource, comma_hint, dotted, read_text, show
from pdebench.models.grid import KINDS, grid_of, indivisible
from pdebench.models.registry import FAMILIES
from pdebench.suite.config import (
    DEFAULT_TASK,
    SECTIONS,
    Cell,
    ExecutionConfig,
    Header,
    LimitsConfig,
    MatchConfig,
    ModelConfig,
    SlurmConfig,
    given,
)
from pdebench.tasks.registry import TASKS

Raw = Mapping[str, Any]
PATCH_FRAMES = ("model", "patch_frames")
COMBINATION = ", in the combination "  # what follows what is wrong, where only a combination of values is
FEWEST_BLOCKS = 3  # for one skip: a block, one in the middle, and a partner
# The same for every cell of a suite, and so neither in the grid nor in a cell.
OVERALL: dict[str, type[BaseModel]] = {"match": MatchConfig, "limits": LimitsConfig, "execution": ExecutionConfig}
NESTED: dict[str, type[BaseModel]] = {**given(DEFAULT_TASK), **OVERALL}
"""What a suite holds keys under: the sections of a cell, its budget, and what is the same for all."""
INNER: dict[Where, type[BaseModel]] = {("execution", "slurm"): SlurmConfig}
"""Sections within sections."""


@dataclass(frozen=True)
class Problem:
    """Something wrong at `where`, a way into a suite's sections.

    Attributes:
        missing: a key without a default is not there.
        shared: the other keys that it takes to be wrong; the one that a grid sets is to blame.
    """

    where: Where
    message: str
    missing: bool = False
    shared: tuple[Where, ...] = ()


@cache
def fields(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of each field of a model, by name."""
    schema = model.model_json_schema()
    return {name: _inline(field, schema.get("$defs", {})) for name, field in schema.get("properties", {}).items()}


def options_of(family: str) -> dict[str, Any]:
    """The JSON Schema of each option of a family, by name."""
    return fields(FAMILIES[family].options)


@cache
def known_keys(task: str) -> tuple[str, ...]:
    """Every dotted key that a suite of that task may set or sweep, options of all families included."""
    own = [f"{section}.{key}" for section, model in given(task).items() for key in fields(model)]
    return (*own, *sorted({f"model.{key}" for family in FAMILIES.at_hand() for key in options_of(family)}))


def is_key(key: str, task: str, families: Sequence[str]) -> bool:
    """Whether a suite may set or sweep a dotted key. Families that are not among these are asked last, and imported."""
    section, _, name = key.partition(".")
    sections = given(task)
    if section in sections and name in fields(sections[section]):
        return True
    own = section == "model" and any(name in options_of(family) for family in families)
    return own or key in known_keys(task)


def task_of(raw: Raw) -> str:
    """The task of a suite or cell; of one that names none that is known, the default."""
    task = raw.get("task")
    return task if isinstance(task, str) and task in TASKS else DEFAULT_TASK


def nearest_key(key: str, known: Iterable[str]) -> str:
    """A clause that names the nearest dotted key; `lr` is near `train.lr`, and so is `lrr`."""
    known = list(known)
    ends = {word.rpartition(".")[2]: word for word in reversed(known)}
    if "." not in key and (key in ends or nearest(key, known) is None) and (near := nearest(key, ends)) is not None:
        return f"did you mean '{ends[near]}'?"
    return did_you_mean(key, known)


def check_header(raw: Raw) -> list[Problem]:
    """Problems of the keys `suite`, `description` and `task`."""
    return [_translated(error, Header, raw, ()) for error in _errors(Header, raw)]


def check_overall(section: str, raw: Raw) -> list[Problem]:
    """Problems of the keys under `match`, `limits` or `execution`."""
    return [_translated(error, OVERALL[section], raw, (section,)) for error in _errors(OVERALL[section], raw)]


def check_profile(source: YamlSource) -> None:
    """Check a file of the keys under `execution.slurm`.

    Raises:
        SuiteError: its first problem.
    """
    problems = [
        _translated(error, SlurmConfig, source.data, ("execution", "slurm"))
        for error in _errors(SlurmConfig, source.data)
    ]
    if problems:
        raise together([source.place(p.where[2:]).error(p.message, dotted(p.where[2:])) for p in problems])


def check_section(section: str, raw: Raw, task: str, families: Sequence[str], partial: bool) -> list[Problem]:
    """Problems of one section.

    Args:
        section: `data`, `model`, `train`, `evaluate`, `measure` or `budget`.
        raw: its keys and values.
        task: what is learned.
        families: the families that the model may be of; an option has to be right for one of them.
        partial: other keys come from the grid, so none is missing and those given are judged one by one.
    """
    model = given(task)[section]
    if section != "model":
        errors = _errors(model, raw)
        problems = [_translated(error, model, raw, (section,)) for error in errors if error["loc"] or not partial]
    else:
        own = {key: value for key, value in raw.items() if key in fields(model)}
        errors = _errors(model, own)
        problems = [_translated(error, model, own, (section,)) for error in errors if error["loc"] or not partial]
        options = {key: value for key, value in raw.items() if key not in own}
        for key, value in options.items():
            problems += _check_option(key, value, families)
        if not partial and not problems:
            options_model = FAMILIES[families[0]].options
            problems += [
                _translated(error, options_model, options, (section,)) for error in _errors(options_model, options)
            ]
    return [problem for problem in problems if not (partial and problem.missing)]


def resolve(raw: Raw) -> Cell | list[Problem]:
    """Build the cell of nested plain data, or say everything that is wrong with it."""
    try:
        cell = Cell.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError:
        family = raw.get("model", {}).get("family")
        known = isinstance(family, str) and FAMILIES.get(family) is not None
        families = [str(family)] if known else list(FAMILIES.at_hand())
        problems = check_header({key: raw[key] for key in raw if key not in SECTIONS})
        for section in SECTIONS:
            problems += check_section(section, raw.get(section, {}), task_of(raw), families, partial=False)
        return problems
    if (misfit := _refused_data(cell) or _misfit(cell)) is not None:
        return [misfit]
    family = FAMILIES[cell.model.family]
    if not TASKS[cell.task].conditioned and (option := family.conditioned_option(cell.model.options)) is not None:
        message = (
            f"{option} acts by the time and the class that a model is given, and the task {cell.task} gives it "
            "neither; leave it out"
        )
        return [Problem(("model", option), message, shared=(("task",), ("model", "family")))]
    if (refused := _refused_shell(cell)) is not None:
        return [refused]
    if cell.train.processes > 1 and (cell.measure.parts or cell.measure.largest_batch):
        where = ("measure", "parts" if cell.measure.parts else "largest_batch")
        several = "devices" if cell.train.devices > 1 else "nodes"
        count = getattr(cell.train, several)
        message = f"is measured on one device, but train.{several} is {count}; give it cells of one device"
        return [Problem(where, message, shared=(("train", several),))]
    if (conflict := TASKS[cell.task].conflict(cell.train, cell.evaluate)) is not None:
        return [Problem(conflict.where, conflict.message, shared=conflict.shared)]
    if (wrong := _wrong_frames(cell)) is not None:
        return [wrong]
    if cell.evaluate.resolution == cell.data.resolution:
        message = (
            f"{cell.data.resolution} is the resolution that is trained on, which is the default; leave it out, or "
            "write null"
        )
        return [Problem(("evaluate", "resolution"), message, shared=(("data", "resolution"),))]
    for key, elsewhere in _elsewhere(cell):
        where = ("evaluate", key)
        if elsewhere % cell.model.patch:
            message = f"resolution {elsewhere} is not divisible by patch {cell.model.patch}"
            return [Problem(where, message, shared=(("model", "patch"),))]
        if FAMILIES[cell.model.family].bound_to_grid:
            message = (
                f"{cell.model.family} cannot be evaluated at {elsewhere} px: its weights are bound to the grid of "
                f"{cell.data.resolution} px that it trains on"
            )
            return [Problem(where, message, shared=(("model", "family"), ("data", "resolution")))]
    return cell


@cache
def mixer_not_to_be_had(family: str) -> str | None:
    """Why the mixer of another package cannot be imported; None where it can, and of a family of ours, unasked."""
    if FAMILIES[family].of_another_package:
        try:
            FAMILIES[family].mixer_class()
        except ModelError as error:
            return str(error)
    return None


def _wrong_frames(cell: Cell) -> Problem | None:
    """Why the trained weights do not go to clips of another length, or None where they do, or nobody asks."""
    frames, trained, model = cell.evaluate.frames, cell.data.frames, cell.model
    if frames is None:
        return None
    other = ("data", "frames")
    if trained is None:
        message, other = f"is for clips; the images of {cell.data.name} have no frames; leave it out", ("data", "name")
    elif frames == trained:
        message = f"{frames} is the length that is trained on, which is the default; leave it out, or write null"
    elif frames % model.patch_frames:
        message, other = f"{frames} frames are not divisible by patch_frames {model.patch_frames}", PATCH_FRAMES
    elif FAMILIES[model.family].bound_to_grid:
        message = (
            f"{model.family} cannot be evaluated on {frames} frames: its weights are bound to the grid of {trained} "
            "frames that it trains on"
        )
    else:
        return None
    return Problem(("evaluate", "frames"), message, shared=(other, ("model", "family")))


def _refused_data(cell: Cell) -> Problem | None:
    """What the data set cannot give, whatever it holds, or None where it can give what is asked."""
    source = SOURCES[cell.data.name]
    if (wrong := source.wrong_key(cell.data)) is not None:
        return of_data(*wrong)
    for key, side in _elsewhere(cell):
        if (offered := source.offered(cell.data)) is None or side in (*offered, cell.data.resolution):
            continue
        others = [str(one) for one in offered if one != cell.data.resolution]
        do = f"take one of {', '.join(others)}" if others else "it is of one side, so leave it out"
        message = f"data set '{source.name}' cannot give images of {side} px: {do}"
        return Problem(("evaluate", key), message, shared=(("data", "name"),))
    return None


def of_data(key: str, sentence: str) -> Problem:
    """What is wrong with a key of `data`; a sentence that begins with the key need not name it twice."""
    said = sentence.removeprefix(f"data.{key}").removeprefix(":").removeprefix(" ")
    return Problem(("data", key), said, shared=(("data", "name"),))


def _elsewhere(cell: Cell) -> list[tuple[str, int]]:
    """The keys that ask for an evaluation at other sides than is trained at, with the sides."""
    asked = [("resolution", cell.evaluate.resolution), *(("resolutions", side) for side in cell.evaluate.sides)]
    return [(key, side) for key, side in asked if side is not None and side != cell.data.resolution]


def _misfit(cell: Cell) -> Problem | None:
    """Why the model does not take the sides of the data, or None where it does."""
    sides, model = SOURCES[cell.data.name].sides(cell.data), cell.model
    for side in sides[-2:]:
        if side % model.patch:
            of = "resolution" if side == cell.data.resolution else f"resolution {cell.data.resolution}: a side of"
            message = f"{of} {side} is not divisible by patch {model.patch}"
            return Problem(("data", "resolution"), message, shared=(("model", "patch"),))
    if (wrong := indivisible(sides, model.patch, model.patch_frames)) is not None:
        return Problem(("model", "patch_frames"), wrong, shared=(("data", "name"),))
    family, grid = FAMILIES[model.family], grid_of(sides, model.patch, model.patch_frames)
    if (wrong := family.refusal(grid, family.options(**model.options))) is not None:
        return Problem(("model", "family"), wrong, shared=(("data", "name"), *_options_of(model)))
    if len(grid) == 1 and cell.measure.spatial:
        message = f"is of images and clips; {KINDS[len(grid)]} have no places in a plane"
        return Problem(("measure", "spatial"), message, shared=(("data", "name"),))
    return None


def _refused_shell(cell: Cell) -> Problem | None:
    """What of the shell the model cannot have, or None where it can have all."""
    model, sides = cell.model, SOURCES[cell.data.name].sides(cell.data)
    refused = cell.shell.refusal(
        FAMILIES[model.family], model.resolved, len(sides), conditioned=TASKS[cell.task].conditioned
    )  # fmt: skip
    if refused is None and cell.shell.skips and model.resolved.depth < FEWEST_BLOCKS:
        refused = (
            "skips",
            f"joins blocks around a middle one, and a model of {model.depth} has none: give it more depth",
        )
    if refused is None:
        return None
    key, message = refused
    shared = (("shell", "preset"), ("model", "family"), ("task",), ("model", "depth"))
    return Problem(("shell", key), message, shared=shared)


def _options_of(model: ModelConfig) -> tuple[Where, ...]:
    return tuple(("model", key) for key in model.options)


def cell_from_yaml(text: str, file: str = "config.yaml") -> Cell:
    """Read what `Cell.to_yaml` wrote.

    Raises:
        SuiteError: the text is not a cell's; names `file` and the line.
    """
    return cell_from_source(read_text(text, file))


def cell_from_source(source: YamlSource) -> Cell:
    """Read a cell's own file.

    Raises:
        SuiteError: its first problem.
    """
    for key, value in source.data.items():
        if key in SECTIONS and not isinstance(value, dict):
            raise source.place((key,)).error(f"must be keys and values, not {show(value)}", key)
    cell = resolve(source.data)
    if isinstance(cell, Cell):
        return cell
    # A misspelt key is also missing; the spelling is what to say.
    problems = [problem for problem in cell if not problem.missing] or cell
    raise together([source.place(p.where).error(p.message, dotted(p.where) or None) for p in problems])


def together(errors: Iterable[SuiteError]) -> SuiteError:
    """The error that comes first in the file, with the others: each said once, however many combinations have it.

    Those of overrides, which have no line, come before: the file has then been checked without them, so
    what else is wrong comes of them.
    """
    said: dict[tuple[object, ...], SuiteError] = {}
    for error in sorted(errors, key=lambda error: error.line or 0):
        said.setdefault((error.file, error.line, error.key, error.message.partition(COMBINATION)[0]), error)
    head, *rest = said.values()
    head.others = tuple(rest)
    return head


def _check_option(key: str, value: object, families: Sequence[str]) -> list[Problem]:
    where: Where = ("model", key)
    takers = [family for family in families if key in options_of(family)]
    if not takers:
        elsewhere = [family for family in FAMILIES.at_hand() if key in options_of(family)]
        if elsewhere:
            do = "do" if len(elsewhere) > 1 else "does"
            message = f"{', '.join(families)} takes no option '{key}'; {', '.join(elsewhere)} {do}"
            return [Problem(where, message)]
        return [Problem(where, _unknown_key(key, "model", ModelConfig, families))]
    tried = [_value_problems(FAMILIES[family].options, key, value) for family in takers]
    return [] if not all(tried) else tried[0]


def _value_problems(options: type[BaseModel], key: str, value: object) -> list[Problem]:
    errors = [error for error in _errors(options, {key: value}) if error["loc"][:1] == (key,)]
    return [_translated(error, options, {key: value}, ("model",)) for error in errors]


def _errors(model: type[BaseModel], raw: Raw) -> list[Any]:
    # Through JSON because that is where pydantic's strict mode takes a list for a tuple and text for a path.
    try:
        model.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        return list(error.errors(include_url=False))
    return []


def problem_of(error: ValidationError, model: type[BaseModel], raw: Raw, section: str) -> Problem:
    """The first thing that is wrong with values of a section, in the words in which a suite is told it."""
    return _translated(error.errors(include_url=False)[0], model, raw, (section,))


def _translated(error: Any, model: type[BaseModel], raw: Raw, above: Where) -> Problem:
    kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
    if len(loc) > 1 and (inner := INNER.get((*above, loc[0]))) is not None:
        return _translated({**error, "loc": loc[1:]}, inner, raw[loc[0]], (*above, loc[0]))
    if "message" in context:  # written by config.py for a reader
        inside = (context["field"],) if "field" in context else _plain(loc)
        shared = tuple((*above, key) for key in context.get("shared", ()))
        return Problem((*above, *inside), context["message"], shared=shared)
    if kind == "value_error" or not loc:
        return Problem((*above, *_plain(loc)), str(context.get("error", error["msg"])))
    key = str(loc[0])
    if kind == "extra_forbidden" and (*above,) in INNER:
        return Problem((*above, key), f"unknown key; {did_you_mean(key, fields(model))}")
    if kind == "extra_forbidden":
        return Problem((*above, key), _unknown_key(key, above[0] if above else "", model, ()))
    if kind == "missing" and len(loc) == 1:
        return Problem((*above, key), "is missing", missing=True)
    schema, value = fields(model)[key], raw[key]
    if kind == "literal_error" and isinstance(value, str):
        return Problem((*above, key), f"unknown value {show(value)}; {did_you_mean(value, _choices(schema))}")
    hint = comma_hint(value) if isinstance(value, str) else ""
    return Problem((*above, *_plain(loc)), f"must be {describe(schema)}, not {show(value)}{hint}")


def _unknown_key(key: str, section: str | int, model: type[BaseModel], families: Sequence[str]) -> str:
    known = list(fields(model))
    known += [option for family in families for option in options_of(family)]
    takers = [task for task in TASKS.built_in if key in fields(given(task).get(str(section), model))]
    if section and takers and model in (given(task)[str(section)] for task in TASKS.at_hand()):
        tasks = f"task{'s' * (len(takers) > 1)} {' and '.join(takers)}"
        return f"is a key of the {tasks}, and this is another task's suite; leave it out"
    others = [other for other, model in NESTED.items() if other != section and key in fields(model)]
    if section and others:
        return f"unknown key; it belongs under '{others[0]}:'"
    return f"unknown key; {did_you_mean(key, set(known))}"


def _plain(loc: Sequence[str | int]) -> Where:
    """The way without the names pydantic adds for members of a union."""
    return (*loc[:1], *(part for part in loc[1:] if isinstance(part, int)))


def _choices(schema: Mapping[str, Any]) -> list[str]:
    if "anyOf" in schema:
        return [choice for part in schema["anyOf"] for choice in _choices(part)]
    return [str(choice) for choice in schema.get("enum", [schema["const"]] if "const" in schema else [])]


def describe(schema: Mapping[str, Any]) -> str:
    """What a value has to be, in words, from its JSON Schema."""
    if "anyOf" in schema:
        return " or ".join(describe(part) for part in schema["anyOf"])
    if choices := _choices(schema):
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    match schema.get("type"):
        case "integer":
            return f"a whole number{_bounds(schema)}"
        case "number":
            return f"a number{_bounds(schema)}"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "string" if "pattern" in schema and "maxLength" not in schema:
            return "32 hexadecimal digits, as a record has them"
        case "string" if "pattern" in schema:
            return f"at most {schema['maxLength']} lower-case letters, digits, '-' and '_'"
        case "array" if "prefixItems" in schema:
            items = schema["prefixItems"]
            return f"a list of {len(items)} values, each {describe(items[0])}"
        case "array":
            return f"a list, each item {describe(schema.get('items', {}))}"
        case "object":
            return "keys and values"
    return "text"


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    found = [f"{word} {schema[bound]:g}" for bound, word in words.items() if schema.get(bound, 1e18) < 1e18]
    return f" {' and '.join(found)}" if found else ""


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema without references, so that it can stand in another document."""
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return {
            **target,
            **{key: _inline(part, definitions) for key, part in schema.items() if key != "$ref"},
        }
    return {
        key: _inline(part, definitions) for key, part in schema.items() if key != "title" or not isinstance(part, str)
    }
