"""Help that shows what is typed: `--json` and no type behind it, `--nfe INT`, `SUITE`; no names of Python's types."""

from __future__ import annotations

from collections.abc import Callable
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
    """A verb."""


class Verbs(_Plain, TyperGroup):
    """A group of verbs."""


def plain_flags(app: typer.Typer) -> None:
    """Have the help of an app, and of all verbs and groups in it, show what is typed."""
    app.info.cls = Verbs
    for verb in app.registered_commands:
        verb.cls = Verb
        if verb.callback is not None:
            _name_values(verb.callback)
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


def _word(kind: Any) -> str | None:
    """`INT` of an int, of one that may be missing and of several; None of a flag, which takes nothing."""
    if parts := [part for part in get_args(kind) if part is not type(None)]:
        return _word(parts[0])
    if kind is bool:
        return None
    if issubclass(kind, Enum):
        choices = "|".join(str(choice.value) for choice in kind)
        assert len(choices) <= WIDEST, f"{choices}: too wide for the help; give a metavar, and the choices in the help"
        return choices
    return WORDS[kind]
