"""A suite file checked key by key and value by value, before its grid is expanded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdebench.errors import SuiteError, did_you_mean
from pdebench.files.yaml_source import Where, YamlSource, dotted, show
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.suite.config import GIVEN, ExecutionConfig, Header, LimitsConfig, MatchConfig
from pdebench.suite.matrix import Entry, Grid, PlacedValue, identity
from pdebench.suite.validation import (
    NESTED,
    OVERALL,
    check_header,
    check_overall,
    check_section,
    fields,
    is_key,
    known_keys,
    nearest_key,
    task_of,
    together,
)

HEADER = tuple(fields(Header))
_TOP_ALONE = (*HEADER, "grid", "include", "exclude")
_TOP = (*HEADER, *NESTED, "grid", "include", "exclude")
_EXAMPLES = {
    "match": "{by: params, to: DiT}",
    "limits": "{seconds: 3600}",
    "execution": "{timing: shared}",
}
_MOST = {"grid": 200, "include": 1_000, "exclude": 1_000}  # keys, entries: each is held against all others
_MOST_POINTS = 10_000  # a grid beyond this is a slip, and expanding it would look like a hang


@dataclass(frozen=True)
class Layout:
    """A suite of which only the form is known to be right: sections of keys, grids of lists, entries of dotted keys."""

    sections: Mapping[str, Mapping[str, Any]]
    grids: Sequence[Grid]
    include: Sequence[Entry]
    exclude: Sequence[Entry]


@dataclass(frozen=True)
class Draft(Layout):
    """A suite whose every key and value is right by itself; combinations of them are not yet looked at.

    `budgeted`: each cell's steps follow from a budget. `errors` are of what was wrong, at the keys `left_out`, and is
    not in it, so that the rest can be looked at too.
    """

    source: YamlSource
    header: Header
    match: MatchConfig | None
    limits: LimitsConfig
    execution: ExecutionConfig
    budgeted: bool
    errors: Sequence[SuiteError] = ()
    left_out: frozenset[str] = frozenset()


class _Checker:
    """Collects the problems of single keys and values of a source."""

    def __init__(self, source: YamlSource):
        self.source = source
        self.task = task_of(source.data)
        self.errors: list[SuiteError] = []
        self.wrong: set[Where] = set()

    def report(self, where: Where, message: str) -> None:
        self.errors.append(self.source.place(where).error(message, dotted(where) or None))
        self.wrong.add(where)

    def is_wrong(self, where: Where) -> bool:
        """Whether something was reported at a place, within it, or of what holds it."""
        return any(one[: len(where)] == where or where[: len(one)] == one for one in self.wrong)

    def layout(self) -> Layout:
        """The form of the whole.

        Raises:
            SuiteError: there is so much of it that checking or expanding it would look like a hang.
        """
        for name, most in _MOST.items():
            held = self.source.data.get(name)
            grids = grids_of(self.source.data)
            count = sum(map(len, grids)) if name == "grid" else len(held) if isinstance(held, list) else 0
            if count > most:
                self.report((name,), f"has {count:,} {'keys' if name == 'grid' else 'entries'}; the most is {most:,}")
                raise together(self.errors)
        placed = self.grids()
        if (size := sum(math.prod(map(len, grid.values())) for grid in placed)) > _MOST_POINTS:
            self.report(("grid",), f"has {size:,} combinations; the most is {_MOST_POINTS:,}")
        return Layout(self.sections(), placed, self.entries("include"), self.entries("exclude"))

    def sections(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for section in GIVEN:
            found[section] = self.source.data.get(section, {})
            if not isinstance(found[section], dict):
                self.report((section,), f"must be keys and values, not {show(found[section])}")
                found[section] = {}
        return found

    def overall(self, section: str) -> dict[str, Any] | None:
        """The keys of a section that is the same for every cell; None where it is left out."""
        raw = self.source.data.get(section)
        if section in self.source.data and not isinstance(raw, dict):
            self.report((section,), f"must be keys and values, such as {_EXAMPLES[section]}, not {show(raw)}")
            return None
        problems = [] if raw is None else check_overall(section, raw)
        # A misspelt key is also missing; the spelling is what to say.
        for problem in [problem for problem in problems if not problem.missing] or problems:
            missing = f"is missing; {section} is written {_EXAMPLES[section]}"
            self.report(problem.where, missing if problem.missing else problem.message)
        return raw

    def sized_by_match(self, sections: Mapping[str, Mapping[str, Any]], settings: Sequence[PlacedValue]) -> None:
        """Refuse what a match chooses: a depth, width, number of heads or MLP that the suite gives too."""
        written: dict[Where, Any] = {("model", key): sections["model"].get(key) for key in Dimensions._fields}
        dimensions = {f"model.{key}" for key in Dimensions._fields}
        written |= {s.where: s.value for s in settings if not dimensions.isdisjoint(s.where)}
        for where, value in written.items():
            if value is not None:
                self.report(where, "match chooses this for each family; leave it out, or leave match out")

    def stepped_by_budget(self, sections: Mapping[str, Mapping[str, Any]], settings: Sequence[PlacedValue]) -> bool:
        """Refuse steps beside a budget, which chooses them; returns whether there is a budget."""
        keys = {key for setting in settings for key in setting.where}
        if not sections["budget"] and "budget.train_flops" not in keys:
            return False
        written = [setting.where for setting in settings if "train.steps" in setting.where]
        for where in [("train", "steps")] * ("steps" in sections["train"]) + written:
            self.report(where, "budget chooses this for each cell; leave it out, or leave budget out")
        return True

    def grids(self) -> list[dict[str, list[PlacedValue]]]:
        """The grids of a suite: none, one, or a list of them."""
        if "grid" not in self.source.data:
            return []
        written = self.source.data["grid"]
        if isinstance(written, list) and written:
            return [self.grid(one, ("grid", index)) for index, one in enumerate(written)]
        return [self.grid(written, ("grid",))]

    def grid(self, grid: Any, where: Where) -> dict[str, list[PlacedValue]]:
        if not isinstance(grid, dict) or not grid:
            self.report(where, f"must be keys with lists of values, not {show(grid)}; or leave grid out")
            return {}
        settings: dict[str, list[PlacedValue]] = {}
        for key, values in grid.items():
            if isinstance(values, dict) and key in GIVEN:
                self.report((*where, key), _dotted_keys(key, values))
            elif not isinstance(values, list):
                self.report((*where, key), f"must be a list of values, such as [{show(values)}], not {show(values)}")
            elif not values:
                self.report(
                    (*where, key),
                    "is an empty list, which leaves nothing to run; list a value or drop the key",
                )
            else:
                settings[key] = [PlacedValue(value, (*where, key, index)) for index, value in enumerate(values)]
        return settings

    def entries(self, name: str) -> list[dict[str, PlacedValue]]:
        entries = self.source.data.get(name, [])
        if not isinstance(entries, list) or (not entries and name in self.source.data):
            self.report(
                (name,),
                f"must be a list of entries, each with dotted keys, not {show(entries)}; or leave {name} out",
            )
            return []
        settings: list[dict[str, PlacedValue]] = []
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict) or not entry:
                self.report(
                    (name, index),
                    f"must be dotted keys and values, such as {{train.seed: 0}}, not {show(entry)}",
                )
            else:
                settings.append({key: PlacedValue(value, (name, index, key)) for key, value in entry.items()})
        return settings

    def setting(self, key: str, setting: PlacedValue, families: Sequence[str]) -> None:
        """Check one value of the grid, of an include or of an exclude."""
        section, _, field = key.partition(".")
        if is_key(key, self.task, families):
            for problem in check_section(section, {field: setting.value}, self.task, families, partial=True):
                self.report((*setting.where, *problem.where[2:]), problem.message)
        elif not any(error.key == dotted(setting.where) for error in self.errors):
            where = setting.where[:-1] if setting.where[0] == "grid" else setting.where
            if isinstance(setting.value, dict) and key in GIVEN:
                self.report(where, _dotted_keys(key, setting.value))
                return
            if section in OVERALL:
                self.report(where, f"{section} is the same for all of a suite; set it under '{section}:'")
                return
            self.report(where, f"there is no such key to set; {nearest_key(key, known_keys(self.task))}")


def layout(source: YamlSource) -> Layout:
    """The form of a suite whose values are not looked at: an override may yet replace them.

    Raises:
        SuiteError: the first part in the file that has another form.
    """
    checker = _Checker(source)
    found = checker.layout()
    if checker.errors:
        raise together(checker.errors)
    return found


def check(source: YamlSource) -> Draft:
    """Check every key and value by itself; what is wrong is in the draft's errors and not in its values.

    Raises:
        SuiteError: there is nothing left to look at further: it is too large, or of a task that there is not.
    """
    checker = _Checker(source)
    for key in source.data:
        if key not in _TOP:
            section = next((s for s, m in NESTED.items() if key in fields(m) or key.startswith(f"{s}.")), None)
            hint = f"it belongs under '{section}:'" if section else did_you_mean(key, _TOP)
            checker.report((key,), f"unknown key; {hint}")
    form = checker.layout()
    sections, grids, include, exclude = form.sections, form.grids, form.include, form.exclude
    header = {key: source.data[key] for key in HEADER if key in source.data}
    for problem in check_header(header):
        if not problem.missing:
            checker.report(problem.where, problem.message)
        elif not checker.errors:  # a misspelt key is also missing; the spelling is what to say
            checker.report(problem.where, "is missing; start with 'suite: NAME'")

    overall = {section: checker.overall(section) for section in OVERALL}
    match = overall["match"]
    families = _families(sections["model"], grids, include)
    for section, raw in sections.items():
        for problem in check_section(section, raw, checker.task, families, partial=True):
            checker.report(problem.where, problem.message)
    for key, settings in (swept for grid in grids for swept in grid.items()):
        seen = set()
        for setting in settings:
            checker.setting(key, setting, families)
            if identity(setting.value) in seen:
                checker.report(setting.where, f"{show(setting.value)} is listed twice; keep one")
            seen.add(identity(setting.value))
    swept = grids_of(source.data)  # keys with a wrong list too: they were meant
    swept_keys = {key for grid in swept for key in grid}
    for entry in (*include, *exclude):
        for key, setting in entry.items():
            checker.setting(key, setting, families)
            if setting.where[0] == "exclude" and key not in swept_keys and is_key(key, checker.task, families):
                checker.report(setting.where, f"exclude matches keys of the grid only; {nearest_key(key, swept_keys)}")
    every = [setting for grid in grids for settings in grid.values() for setting in settings]
    every += [setting for entry in include for setting in entry.values()]
    if match is not None:
        checker.sized_by_match(sections, every)
    budgeted = checker.stepped_by_budget(sections, every)
    if checker.is_wrong(("task",)):  # what a section may hold depends on it
        raise together(
            error for error in checker.errors if (error.key or "").partition(".")[0] in (*_TOP_ALONE, *OVERALL)
        )
    right = {name: raw for name, raw in overall.items() if raw and not checker.is_wrong((name,))}
    return Draft(
        **vars(_without_wrong(form, checker)),
        source=source,
        header=Header(**({"suite": "unnamed"} | {k: v for k, v in header.items() if not checker.is_wrong((k,))})),
        match=MatchConfig(**right["match"]) if "match" in right else None,
        limits=LimitsConfig(**right.get("limits", {})),
        execution=ExecutionConfig(**right.get("execution", {})),
        budgeted=budgeted,
        errors=checker.errors,
        left_out=frozenset(filter(None, map(_key_at, checker.wrong))),
    )


def _key_at(where: Where) -> str:
    """The dotted key that a place in a suite is of; empty where it is of none."""
    if where[:1] and where[0] in GIVEN:
        return dotted(where[:2])
    return next((part for part in where[1:] if isinstance(part, str)), "")


def _without_wrong(form: Layout, checker: _Checker) -> Layout:
    """What is right of a suite: values that are wrong are left out, and entries that hold such."""
    sections = {
        name: {key: value for key, value in held.items() if not checker.is_wrong((name, key))}
        for name, held in form.sections.items()
    }
    grids = [
        {
            key: kept
            for key, swept in grid.items()
            if (kept := [one for one in swept if not checker.is_wrong(one.where)])
        }
        for grid in form.grids
    ]
    include, exclude = (
        [entry for entry in entries if not any(checker.is_wrong(one.where) for one in entry.values())]
        for entries in (form.include, form.exclude)
    )
    return Layout(sections, grids, include, exclude)


def grids_of(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The grids that a suite's data hold, as they are written; what is none is left out."""
    written = data.get("grid")
    return [grid for grid in (written if isinstance(written, list) else [written]) if isinstance(grid, dict)]


def _dotted_keys(section: str, values: Mapping[str, Any]) -> str:
    """What to write in place of a section with keys inside, where keys are dotted."""
    written = ", ".join(f"{section}.{key}: {show(value)}" for key, value in list(values.items())[:3])
    return f"keys are dotted here: write {written or f'{section}.KEY: [VALUES]'}"


def _families(model: Mapping[str, Any], grids: Sequence[Grid], include: Sequence[Entry]) -> list[str]:
    """The families that the model may be of; all of them where none is named yet."""
    named = [model.get("family"), *(s.value for grid in grids for s in grid.get("model.family", ()))]
    named += [entry["model.family"].value for entry in include if "model.family" in entry]
    if any(name is not None and not (isinstance(name, str) and FAMILIES.get(name)) for name in named):
        return list(FAMILIES.at_hand())  # a misspelt one may be any
    known = dict.fromkeys(name for name in named if isinstance(name, str))
    added = [family for family in known if family not in FAMILIES.built_in]
    return [*(family for family in FAMILIES.built_in if family in known), *added] or list(FAMILIES.at_hand())
