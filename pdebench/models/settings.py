"""The settings of a family's own options and of its shell: what differs from the defaults, in plain words, in order.

The report and the live table tell runs apart with them. Importing this imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.shell_options import PLAIN, ShellOptions

_ORDER: dict[type[BaseModel], tuple[str, ...]] = {
    PDEOptions: ("diffusion", "convection", "reaction", "states", "gate", "selective", "padding"),
}
"""The order in which options are told, where it is not that of their declaration."""

_WORDS: dict[type[BaseModel], dict[tuple[str, Any], str]] = {
    PDEOptions: {
        ("diffusion", "full"): "full K",
        ("diffusion", "diagonal"): "diagonal K",
        ("diffusion", "isotropic"): "isotropic K",
        ("selective", True): "selective tau",
        ("padding", "zero"): "zero padding",
        ("padding", "periodic"): "periodic",
    },
}
_SYMBOLS: dict[type[BaseModel], dict[str, str]] = {PDEOptions: {"states": "S"}}
_UNSAID: dict[type[BaseModel], tuple[str, ...]] = {PDEOptions: ("padding",)}
"""Defaults that go without saying."""


@dataclass(frozen=True)
class Option:
    """One option of a family.

    Attributes:
        default: what a suite that leaves it out gets.
        values: in their order, where they are a closed list.
        before: what a record without it means: what was done before there was such an option.
    """

    name: str
    default: Any
    values: tuple[Any, ...]
    before: Any

    def typed(self, raw: Any) -> Any:
        """A value of the table as the option has it; a missing one is of a record of before it."""
        if raw is None or str(raw) in ("", "nan", "<NA>"):  # what pandas makes of a null, without importing pandas
            return self.before
        raw = raw.item() if hasattr(raw, "item") else raw
        if isinstance(self.default, bool):
            return {"true": True, "false": False}.get(str(raw).lower(), raw)
        if isinstance(self.default, int) and isinstance(raw, float) and raw.is_integer():
            return int(raw)
        return raw

    def is_off(self, value: Any) -> bool:
        """Whether the value takes away something that the default has."""
        return value != self.default and (value is False or value == "off")


@dataclass(frozen=True)
class OptionSetting:
    """A setting of a family's options.

    Attributes:
        family: a registered family.
        changes: option and value, of those that differ from the defaults.
    """

    family: str
    changes: tuple[tuple[Option, Any], ...]

    @property
    def off(self) -> tuple[str, ...]:
        """The options that are taken away."""
        return tuple(option.name for option, value in self.changes if option.is_off(value))

    @property
    def only_off(self) -> bool:
        """Whether something is taken away and nothing else changed."""
        return bool(self.changes) and len(self.off) == len(self.changes)

    def __str__(self) -> str:
        """What differs: `no diffusion, S = 4`; `plain` where nothing does."""
        told = [_said(self.family, option.name, value) for option, value in self.changes]
        return ", ".join(told) or "plain"

    def rank(self) -> tuple[Any, ...]:
        """Sorts the default first, then terms taken away, then one option after another, then mixtures of these."""
        return (len(self.groups()), self.groups(), len(self.changes), self._places())

    def groups(self) -> tuple[int, ...]:
        """Which parts of the design the changes belong to: 0 what is taken away, then each option by its place."""
        places = {option.name: place for place, option in enumerate(options_of(self.family), 1)}
        return tuple(sorted({0 if option.is_off(value) else places[option.name] for option, value in self.changes}))

    def _places(self) -> tuple[Any, ...]:
        names = [option.name for option in options_of(self.family)]
        return tuple((names.index(option.name), _place(option, value)) for option, value in self.changes)


def options_of(family: str) -> tuple[Option, ...]:
    """The options of a family in the order in which they are told; none where it is not to be had."""
    found = FAMILIES.get(family)
    if found is None:
        return ()
    model = found.options
    declared = model.model_fields
    order = [name for name in _ORDER.get(model, ()) if name in declared]
    names = [*order, *(name for name in declared if name not in order)]
    defaults = {name: declared[name].get_default(call_default_factory=True) for name in names}
    return tuple(
        Option(
            name,
            defaults[name],
            get_args(declared[name].annotation),
            found.neutral.get(name, defaults[name]),
        )
        for name in names
    )


def setting_of(family: str, row: Mapping[str, Any]) -> OptionSetting:
    """The setting of a row of the results table, whose columns are `model.<option>`."""
    values = [(option, option.typed(row.get(f"model.{option.name}"))) for option in options_of(family)]
    return OptionSetting(family, tuple((option, value) for option, value in values if value != option.default))


def shell_of(family: str, row: Mapping[str, Any]) -> str:
    """The shell of a row of the results table in words: `dit shell`, `lightning shell, no rope, adaln single`.

    `row` has columns `shell.<key>`; one without a value is of a record of before there were shells to choose.
    """
    found = FAMILIES.get(family)
    values = {key: value for key in PLAIN if (value := row.get(f"shell.{key}")) is not None and value == value}
    if found is None or not values:
        return f"{row.get('shell.preset') or 'dit'} shell"
    asked = ShellOptions.model_construct(**{**dict.fromkeys(ShellOptions.model_fields), **values}).asked_of(found)
    preset = asked.pop("preset", None)
    singles = [_in_words(key.replace("_", " "), value) for key, value in asked.items()]
    return ", ".join([f"{preset or 'dit'} shell"] * (preset is not None or not singles) + singles)


def plain(family: str) -> str:
    """The default setting in words: `plain: full K, convection, reaction, S = 1`."""
    found = FAMILIES.get(family)
    unsaid = () if found is None else _UNSAID.get(found.options, ())
    told = [
        _said(family, option.name, option.default)
        for option in options_of(family)
        if option.name not in unsaid and not any(option.default is empty for empty in (False, None, "off"))
    ]
    return f"plain: {', '.join(told)}" if told else "plain"


def _said(family: str, name: str, value: Any) -> str:
    model = FAMILIES[family].options
    known = _WORDS.get(model, {})
    if isinstance(value, bool | str) and (name, value) in known:
        return known[name, value]
    title = name.replace("_", " ")
    symbol = _SYMBOLS.get(model, {}).get(name)
    return f"{symbol} = {value}" if symbol and not isinstance(value, bool) else _in_words(title, value)


def _in_words(title: str, value: Any) -> str:
    if value is True:
        return title
    return f"no {title}" if value is False or value == "off" else f"{title} {value}"


def _place(option: Option, value: Any) -> tuple[int, float, str]:
    """Sorts values of any type: closed lists as declared, numbers by size, text by letter."""
    if isinstance(value, bool | int | float):
        return (0, float(value), "")
    if value in option.values:
        return (1, float(option.values.index(value)), "")
    return (2, 0.0, str(value))
