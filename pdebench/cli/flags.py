"""Help that shows a flag as what is typed: `--json`, and no type behind it, as if it took a value."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _Untyped:
    """A command whose flags have no type in its help, `--help` itself among them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See click."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in params:
            if getattr(one, "is_flag", False) and one.metavar is None:
                one.metavar = ""
        return params


class Verb(_Untyped, TyperCommand):
    """A verb."""


class Verbs(_Untyped, TyperGroup):
    """A group of verbs."""


def plain_flags(app: typer.Typer) -> None:
    """Show the flags of an app, and of all verbs and groups in it, without a type."""
    app.info.cls = Verbs
    for verb in app.registered_commands:
        verb.cls = Verb
    for group in app.registered_groups:
        assert group.typer_instance is not None
        group.cls = Verbs
        plain_flags(group.typer_instance)
