"""The page of the command line: every verb with its help, its arguments and its options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from generate.markdown import code
from pdebench.cli import app


def page() -> str:
    """The page, in Markdown."""
    root = typer.main.get_command(app)
    verbs = "\n".join(_verb(name, command) for name, command in walk(root))
    return f"# Command line\n\n{_told(root)}\n\n{verbs}"


def walk(command: Any, name: str = "pdebench") -> Iterator[tuple[str, Any]]:
    """All verbs below a command, each with what is typed to call it."""
    for word, below in command.commands.items():
        if hasattr(below, "commands"):
            yield from walk(below, f"{name} {word}")
        else:
            yield f"{name} {word}", below


def _told(command: Any) -> str:
    return inspect.cleandoc(command.help)


def _verb(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    records = (one.get_help_record(context) for one in command.get_params(context) if one.name != "help")
    listed = "".join(f"- {code(typed)}: {' '.join(told.split())}\n" for typed, told in filter(None, records))
    return f"## {name.removeprefix('pdebench ')}\n\n{_told(command)}\n\n{listed}"
