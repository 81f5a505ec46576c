"""A suite file and its cells: sections, grid, include, exclude and overrides; imports no torch.

Whatever is wrong with a suite, one `SuiteError` names it all, in the order of the file, before anything runs: problems
of single keys and values, and those that only a combination of the others shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdebench.errors import SuiteError, did_you_mean, nearest
from pdebench.files.yaml_source import SourceLocation, Where, YamlSource, dotted, dump_yaml, read_file, read_value, show
from pdebench.suite.budget import TooSmall, steps_within
from pdebench.suite.config import (
    Cell,
    DataConfig,
    ExecutionConfig,
    LimitsConfig,
    MatchConfig,
    ModelConfig,
    TrainConfig,
    given,
)
from pdebench.suite.data_check import data_problems
from pdebench.suite.draft import HEADER, Draft, Layout, check, layout
from pdebench.suite.matched_cells import SuiteMatch
from pdebench.suite.matrix import Entry, Expansion, PlacedValue, expand, identity
from pdebench.suite.measured_sizes import (
    MEASURED,
    MatchedSizes,
    SizeQuestion,
    not_measured,
    read_sizes,
    sizes_folder,
)
from pdebench.suite.paths import anchored, from_here
from pdebench.suite.resolved import as_here
from pdebench.suite.schema import json_schema
from pdebench.suite.validation import (
    COMBINATION,
    NESTED,
    OVERALL,
    Problem,
    fields,
    known_keys,
    mixer_not_to_be_had,
    nearest_key,
    resolve,
    task_of,
    together,
)

FROM_SUITE = "a relative path begins at its suite's file"  # as data sets say it
FROM_HERE = "a relative path of --set begins at the current folder"

__all__ = [
    "Cell",
    "DataConfig",
    "MatchConfig",
    "ModelConfig",
    "Suite",
    "TrainConfig",
    "json_schema",
    "load_suite",
    "shipped_suites",
]


@dataclass(frozen=True)
class Suite:
    """A study as it runs: overrides applied, and what they made void taken out.

    Attributes:
        name: slug; names the results folder.
        description: what the study asks.
        task: what is learned.
        sections: `data`, `model`, `train`, `evaluate`, `measure` and `budget` as written, before the grid.
        match: what the models are resized to, if they are.
        limits: what a cell may take.
        execution: how cells are run.
        grids: each dotted keys to their values.
        include: entries of dotted keys and values.
        exclude: as `include`.
        file: where it was read from.
        unmeasured: sizes that are to be measured before its cells are what they will be.
        sizes: those that were measured for it, where it has any.
    """

    name: str
    description: str
    task: str
    sections: Mapping[str, Mapping[str, Any]]
    match: MatchConfig | None
    limits: LimitsConfig
    execution: ExecutionConfig
    grids: Sequence[Mapping[str, Sequence[Any]]]
    include: Sequence[Mapping[str, Any]]
    exclude: Sequence[Mapping[str, Any]]
    file: str
    unmeasured: Sequence[SizeQuestion]
    sizes: MatchedSizes | None
    _cells: tuple[Cell, ...]

    @property
    def about_sizes(self) -> str | None:
        """What a reader of its cells has to know of sizes that are measured; None where none are."""
        if self.match is None or self.match.by not in MEASURED:
            return None
        if self.unmeasured:
            return (
                f"{not_measured(self.unmeasured)}: here they have the reference's MACs where they can; `pdebench run "
                f"--only-match` measures them, and `pdebench run` does before its first cell"
            )
        if self.sizes is None:
            return None
        return f"sizes match {self.match.to} by {self.match.by}, as measured on {self.sizes.where}"

    def planned(self) -> list[Cell]:
        """The cells in the order of running: the grid's, its last key fastest, then those of `include`.

        What is known only where they run is left open: the arithmetic of `auto`, and what the data hold.
        """
        return list(self._cells)

    def cells(self) -> list[Cell]:
        """The same as they run on this machine, with the identities that their results have.

        Reads the data; where they are not to be had, the cells are as planned.
        """
        return as_here(self._cells)

    def to_yaml(self) -> str:
        """The suite as it ran, defaults of its sections included; loads again with equal cells."""
        document: dict[str, Any] = {"suite": self.name, "description": self.description, "task": self.task}
        for section, model in given(self.task).items():
            defaults = {key: field["default"] for key, field in fields(model).items() if "default" in field}
            document[section] = {
                **self.sections[section],
                **{k: v for k, v in defaults.items() if k not in self.sections[section]},
            }
        overall = {"match": self.match, "limits": self.limits, "execution": self.execution}
        matrix: dict[str, Any] = {key: section and section.model_dump() for key, section in overall.items()}
        matrix |= {
            "budget": document.pop("budget"),
            "grid": self.grids[0] if len(self.grids) == 1 else list(self.grids),
            "include": self.include,
            "exclude": self.exclude,
        }
        return dump_yaml(document | {key: value for key, value in matrix.items() if value})


def shipped_suites() -> dict[str, Path]:
    """The suites that come with the package, by the name that `load_suite` takes."""
    package = Path(__file__).resolve().parents[1]
    # A wheel carries the folder inside the package; a checkout has it beside the package.
    folder = package / "suites" if (package / "suites").is_dir() else package.parent / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_suite(
    path_or_name: str | Path, overrides: Sequence[str] = (), results: Path | None = None, *, with_parts: bool = False
) -> Suite:
    """Read a suite, check all of it and expand its grid.

    Args:
        path_or_name: a file, or a bare name: `./suites/NAME.yaml`, then a suite shipped with the package. What is
            relative in it begins at its folder.
        overrides: `KEY=VALUE` each, the value in YAML: `train.lr=1e-4`, `grid.model.family=[DiT]`. A path begins at
            the current folder.
        results: the results folder, whose sizes a suite has that is matched by what is measured. Default: the one that
            the suite lies in, or `runs/<suite>`.
        with_parts: its data sets have to be there too, as they are asked for, and the mixers of other packages, which
            are imported.

    Raises:
        SuiteError: the first problem, with its file, line and key, and all others.
        ResultsError: the sizes that were measured cannot be read.
    """
    source = anchored(read_file(_find(str(path_or_name))))
    if not overrides:
        return _finish(check(source), None, results, with_parts=with_parts)
    written = layout(source)  # of the values only those that are left are looked at
    return _finish(check(_overridden(source, overrides)), written, results, with_parts=with_parts)


def suite_names() -> dict[str, Path]:
    """The suites that have a name here: those of `./suites`, and those shipped with the package; and their files."""
    return {**{path.stem: path for path in Path("suites").glob("*.yaml")}, **shipped_suites()}


def _find(name: str) -> Path:
    path = Path(name)
    if "/" in name or "\\" in name or path.suffix in (".yaml", ".yml"):
        if path.exists() or not path.parent.is_dir():
            return path  # reading says what is wrong with a path that is not there
        siblings = [str(path.parent / other.name) for other in path.parent.glob("*.y*ml")]
        raise SuiteError(
            f"there is no such file; {did_you_mean(name, siblings)}" if siblings else "there is no such file",
            file=name,
        )
    local = Path("suites") / f"{name}.yaml"
    if name and local.is_file():
        return local
    known = suite_names()
    if name in known:
        return known[name]
    hint = "`pdebench list suites` lists them" if nearest(name, known) is None else did_you_mean(name, known)
    raise SuiteError(f"there is no suite of the name '{name}'; {hint}")


def _overridden(source: YamlSource, overrides: Sequence[str]) -> YamlSource:
    """The source with `KEY=VALUE` texts written over it."""
    places: dict[str, SourceLocation] = {}
    for text in overrides:
        place = SourceLocation(f"--set {text}")
        key, equals, value = text.partition("=")
        key = key.strip()
        section, dot, field = key.partition(".")
        if not equals or not key:
            raise place.error("must be KEY=VALUE, such as train.lr=1e-4")
        if key in places:
            raise place.error("is set twice; keep one", key)
        several = isinstance(source.data.get("grid"), list)
        if numbered := re.fullmatch(r"grid(?:\.\d+|\[\d+\])\.(.+)", key):
            holds = "which holds for each of the grids that sweeps it" if several else "since the suite has one grid"
            raise place.error(f"grids have no numbers here; write grid.{numbered[1]}, {holds}", key)
        ways: list[Where] = []
        if section == "grid" and dot and several:
            ways = [("grid", index, field) for index, grid in enumerate(source.data["grid"]) if field in grid]
            if not ways:
                raise place.error("none of the suite's grids sweeps this key; set it in the file", key)
            where: Where = ways[0]
        elif section == "grid" and dot:
            where = ("grid", field)
        elif key in HEADER:
            where = (key,)
        elif section in NESTED and dot:
            where = (section, field)
        else:
            known = [
                *HEADER,
                *known_keys(task_of(source.data)),
                *(f"{name}.{key}" for name, model in OVERALL.items() for key in fields(model)),
            ]
            known += [f"grid.{swept}" for swept in known_keys(task_of(source.data))]
            raise place.error(f"there is no such key to set; {nearest_key(key, known)}", key)
        places[key] = place
        value_read = read_value(value, place.file)
        if key == "grid.model.family" and several:
            source = _chosen(source, value_read, place)
            continue
        for way in ways or [where]:
            source = source.replaced(way, from_here(way, value_read, Path.cwd()), place)
    _refuse_swept(source, places)
    return _over_includes(source, places)


def _chosen(source: YamlSource, families: Any, place: SourceLocation) -> YamlSource:
    """The source with the families of its several grids overridden.

    A family goes where it is listed, since a grid may sweep options that only its own families take. One that no grid
    lists goes into each that lists families, and a grid whose families were not asked for is left out.
    """
    grids = source.data["grid"]
    own = {
        at: grid["model.family"] for at, grid in enumerate(grids) if isinstance(grid, dict) and "model.family" in grid
    }
    asked = families if isinstance(families, list) else []
    listed = [family for family in asked if any(isinstance(one, list) and family in one for one in own.values())]
    for at in reversed(own):
        kept = [one for one in asked if one not in listed or (isinstance(own[at], list) and one in own[at])]
        if kept or not asked:
            source = source.replaced(("grid", at, "model.family"), kept if asked else families, place)
        else:
            source = source.without(("grid",), at)
    return source


def _refuse_swept(source: YamlSource, places: Mapping[str, SourceLocation]) -> None:
    """Refuse an override that the grid would write over, unseen."""
    written = source.data.get("grid") or {}
    grids = enumerate(written) if isinstance(written, list) else [(None, written)]
    ways: list[tuple[Where, Any]] = [(("grid",) if at is None else ("grid", at), grid) for at, grid in grids]
    for key, place in places.items():
        for way, grid in ways:
            if key in grid:
                line = source.place((*way, key)).line
                at = f" on line {line}" if line else ""
                raise place.error(f"the grid{at} sweeps this key; override grid.{key} instead, with a list", key)


def _over_includes(source: YamlSource, places: Mapping[str, SourceLocation]) -> YamlSource:
    """The source with overrides in entries of include that give their keys: it holds for every cell."""
    for key, place in places.items():
        section, dot, field = key.partition(".")
        for index, entry in enumerate(source.data.get("include") or []):
            if dot and key in entry:
                source = source.replaced(("include", index, key), source.data[section][field], place)
    return source


def _finish(draft: Draft, written: Layout | None, results: Path | None, *, with_parts: bool) -> Suite:
    """Expand a draft into cells. `written` is the file's form before overrides, where there were any.

    An override narrows or widens the grid; entries of include and exclude that thereby lose their object are
    dropped, while one that never had any is a mistake in the file.
    """
    include, exclude = list(draft.include), list(draft.exclude)
    errors: list[SuiteError] = []
    before = None if written is None else expand(written.grids, written.include, written.exclude)
    lost = {i for i, extends in enumerate(before.extends) if extends} if before else set()
    after = expand(draft.grids, include, exclude, only_extend=lost)
    for index, dropped in enumerate(after.excludes):
        if not dropped and not (before and before.excludes[index]):
            errors.append(
                _error(draft, ("exclude", index), "matches no combination of the grid, so it excludes nothing")
            )
    for index, entry in enumerate(include):
        repeats = any(all(key in grid for key in entry) for grid in draft.grids)
        if after.extends[index] and repeats and not before:
            errors.append(_error(draft, ("include", index), "repeats a combination of the grid and adds nothing to it"))
    if not after.points and not errors:
        errors.append(_error(draft, ("exclude",), "leaves no combination of the grid to run"))
    match = SuiteMatch(draft.match) if draft.match else None
    if match and match.asked.by in MEASURED:
        match.sizes = read_sizes(sizes_folder(draft.header.suite, draft.source.file, results))
    if draft.errors:  # what is left out may be what they would have matched
        errors = list(draft.errors)
    cells = _cells(draft, after, errors, match, with_parts=with_parts)
    if errors:
        raise together(errors)
    return Suite(
        name=draft.header.suite,
        description=draft.header.description,
        task=draft.header.task,
        sections=draft.sections,
        match=draft.match,
        limits=draft.limits,
        execution=draft.execution,
        grids=[{key: [one.value for one in settings] for key, settings in grid.items()} for grid in draft.grids],
        include=[_plain(entry) for i, entry in enumerate(include) if after.extends[i] or i not in lost],
        exclude=[_plain(entry) for i, entry in enumerate(exclude) if after.excludes[i]],
        file=draft.source.file,
        unmeasured=tuple(match.unmeasured.values()) if match else (),
        sizes=match.sizes if match else None,
        _cells=tuple(cells),
    )


def _cells(
    draft: Draft, expansion: Expansion, errors: list[SuiteError], match: SuiteMatch | None, *, with_parts: bool
) -> list[Cell]:
    """The cells of all combinations; `errors` takes what is wrong with some."""
    cells: dict[str, Cell] = {}
    points: dict[str, Entry] = {}
    for point in expansion.points:
        raw: dict[str, Any] = {"suite": draft.header.suite, "task": draft.header.task}
        raw |= {section: dict(values) for section, values in draft.sections.items()}
        for key, setting in point.items():
            section, _, field = key.partition(".")
            raw[section][field] = setting.value
        budget = raw.pop("budget")
        if draft.budgeted:
            raw["train"]["steps"] = 0  # until the cell's size is known
        if with_parts:
            for problem in data_problems(raw["data"]):  # what the model is has nothing to do with it
                about = {key: point[key] for key in ("data.name", "data.set", dotted(problem.where)) if key in point}
                errors.append(_located(draft, about, problem))
        cell = resolve(raw)
        if with_parts and isinstance(cell, Cell) and (why := mixer_not_to_be_had(cell.model.family)) is not None:
            cell = [Problem(("model", "family"), why)]
        if isinstance(cell, Cell) and match:
            cell = match.matched(cell)
        if isinstance(cell, Cell) and draft.budgeted:
            cell = _budgeted(cell, budget.get("train_flops"))
        if not isinstance(cell, Cell):
            errors += [_located(draft, point, problem) for problem in cell if not _follows(problem, draft)]
            continue
        # Values that differ can still give one cell: a null beside the default that it stands for, an include
        # that spells out what the sections say anyway. To run it once, silently, would leave its author with
        # fewer cells than were written down.
        if cell.id in cells and not draft.errors:
            where = _differing(point, points[cell.id]).where
            where = where if where[0] == "grid" else where[:2]
            message = f"gives {_name(point)}, the same cell as {_name(points[cell.id])}; drop one of them"
            errors.append(_error(draft, where, message))
        cells[cell.id], points[cell.id] = cell, point
    return list(cells.values())


def _follows(problem: Problem, draft: Draft) -> bool:
    """Whether a problem may be due to keys that were wrong by themselves, and so are not there."""
    if not draft.errors:
        return False
    of_model = "model.family" in draft.left_out and problem.where[0] == "model"
    about = (problem.where, *problem.shared)
    return problem.missing or of_model or any(dotted(where[:2]) in draft.left_out for where in about)


def _budgeted(cell: Cell, train_flops: float | None) -> Cell | list[Problem]:
    """The cell with the steps that a budget buys it."""
    where: Where = ("budget", "train_flops")
    if train_flops is None:
        return [Problem(where, "is missing", missing=True)]
    try:
        steps = steps_within(cell, train_flops)
    except TooSmall as error:
        shared: tuple[Where, ...] = (("model", "family"), ("model", "size"), ("train", "batch_size"))
        return [Problem(where, str(error), shared=shared)]
    return cell.with_sections(train=cell.train.model_copy(update={"steps": steps}))


def _differing(point: Entry, other: Entry) -> PlacedValue:
    """The first value in which a combination differs from another."""
    for key, setting in point.items():
        if key not in other or identity(other[key].value) != identity(setting.value):
            return setting
    return next(iter(point.values()))


def _located(draft: Draft, point: Entry, problem: Problem) -> SuiteError:
    """The error of a combination, at the value of it that is to blame."""
    where, key = problem.where, dotted(problem.where)
    if problem.missing:
        # A combination of its own that an include lacks something for; else the section lacks it for all.
        alone = point and all(setting.where[0] == "include" for setting in point.values())
        at = next(iter(point.values())).where[:2] if alone else where
        return draft.source.place(at).error(f"is missing; set it under '{where[0]}:' or in the grid", key)
    swept = [point[key] for key in map(dotted, (where[:2], *problem.shared)) if key in point]
    at = (*swept[0].where, *(where[2:] if dotted(where[:2]) in point else ())) if swept else where
    # Of the combination, only the sections that the problem is about tell the reader anything.
    about = {way[0] for way in (where, *problem.shared)}
    rest = {name: setting for name, setting in point.items() if name.partition(".")[0] in about}
    combination = f"{COMBINATION}{_name(rest)}" if len(rest) > len(swept[:1]) else ""
    place = draft.source.place(at)
    message = problem.message if place.line is not None else problem.message.replace(FROM_SUITE, FROM_HERE)
    return place.error(message + combination, dotted(at))


def _error(draft: Draft, where: Where, message: str) -> SuiteError:
    return draft.source.place(where).error(message, dotted(where))


def _name(point: Entry) -> str:
    if not point:
        return "of the sections alone"
    return ", ".join(f"{key}={s.value if isinstance(s.value, str) else show(s.value)}" for key, s in point.items())


def _plain(entry: Entry) -> dict[str, Any]:
    return {key: setting.value for key, setting in entry.items()}
