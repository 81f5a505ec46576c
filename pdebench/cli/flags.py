"""Help that shows what is typed: `--json` and no type behind it, `--nfe INT`, `SUITE`; no names of Python's types.

What is typed wrong is told in the words that a suite's keys are told in, whatever typer's own are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

WORDS: dict[type, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
WIDEST = 20  # characters of choices that stand behind their option; of more its help tells


class _Plain:
    """A command whose help shows no type of flags, `--help` itself among them, and none of arguments."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See click."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in params:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""
            if one.param_type_name == "argument":
                one.display_type_rich = lambda ctx: ""
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """See click; an argument that has to be given stands as it is, without braces."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class Verb(_Plain, TyperCommand):
    """A verb.

    Attributes:
        numbers: what those of its options have to be that take a number, by the name of the parameter.
    """

    numbers: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click; a list may have spaces behind its commas."""
        typed = _joined(args)
        try:
            return super().parse_args(ctx, list(typed))  # which empties it
        except typer.BadParameter as error:
            one = error.param if type(error) is typer.BadParameter else None  # of a kind of it, one is missing
            if one is not None and (wanted := self.numbers.get(one.name or "")) is not None:
                given = _given(typed, one.opts)
                error.message = f"must be {wanted}" + (f", not '{given[0]}'" if len(given) == 1 else "")
            raise


def _joined(args: Sequence[str]) -> list[str]:
    """`--metrics fid, kid` as `--metrics fid,kid`: what ends with a comma goes on, but not with an option or a file."""
    found: list[str] = []
    for one in args:
        if found and found[-1].endswith(",") and not one.startswith("-") and not Path(one).exists():
            found[-1] += one
        else:
            found.append(one)
    return found


def _given(args: Sequence[str], names: Sequence[str]) -> list[str]:
    """What was typed behind an option, each time."""
    apart = [args[place + 1] for place, one in enumerate(args[:-1]) if one in names]
    return apart + [one.partition("=")[2] for one in args if one.partition("=")[0] in names and "=" in one]


class Verbs(_Plain, TyperGroup):
    """A group of verbs."""


def plain_flags(app: typer.Typer) -> None:
    """Have the help of an app, and of all verbs and groups in it, show what is typed."""
    app.info.cls = Verbs
    for verb in app.registered_commands:
        verb.cls = Verb
        if verb.callback is not None:
            _name_values(verb.callback)
            verb.cls = type(Verb.__name__, (Verb,), {"numbers": _numbers(verb.callback)})
    for group in app.registered_groups:
        assert group.typer_instance is not None
        group.cls = Verbs
        plain_flags(group.typer_instance)


def _name_values(verb: Callable[..., Any]) -> None:
    """Name what each option of a verb takes, where the verb does not."""
    hints = get_type_hints(verb, include_extras=True)
    for hint in hints.values():
        if get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], OptionInfo):
            kind, option = get_args(hint)[:2]
            option.metavar = option.metavar or _word(kind)
    verb.__annotations__.update(hints)  # else they are texts, of which typer makes options anew


def _numbers(verb: Callable[..., Any]) -> dict[str, str]:
    """`a whole number of at least 1`, of each option or argument that takes a number, by its parameter's name."""
    found = {}
    for name, hint in get_type_hints(verb, include_extras=True).items():
        if get_origin(hint) is not Annotated or (kind := _kind(get_args(hint)[0])) not in (int, float):
            continue
        about = get_args(hint)[1]
        bounds = [
            f"{word} {end:g}" for word, end in (("of at least", about.min), ("at most", about.max)) if end is not None
        ]
        found[name] = " ".join(["a whole number" if kind is int else "a number", " and ".join(bounds)]).rstrip()
    return found


def _kind(kind: Any) -> Any:
    """The type of a value, of one that may be missing, and of each of several."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    return _kind(parts[0]) if parts else kind


def _word(kind: Any) -> str | None:
    """`INT` of an int, of one that may be missing and of several; None of a flag, which takes nothing."""
    kind = _kind(kind)
    if kind is bool:
        return None
    if issubclass(kind, Enum):
        choices = "|".join(str(choice.value) for choice in kind)
        assert len(choices) <= WIDEST, f"{choices}: too wide for the help; give a metavar, and the choices in the help"
        return choices
    return WORDS[kind]
