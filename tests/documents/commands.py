"""Commands as pages and help give them: read, checked against what there is, and run as a reader would."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import given
import typer
from pages import ROOT
from runs import pdebench_run

from pdebench.cli import app

# what a shell may be asked for here; whatever else a page has says why it is not run
HARMLESS = ("pdebench", "cat", "mkdir", "touch", "cp", "ls")
WRITES = ("--out", "--results", "--file", "--junit", "--history")
OPERATORS = {"|", "||", "&&", "&", ";", "<", ">", ">>", "<<", "(", ")"}
HEREDOC = re.compile(r"<<'?(\w+)'?")


def split(text: str) -> Iterator[str]:
    """The commands of a block, each with what belongs to it: lines that go on, and a file that it writes out."""
    lines = iter(text.splitlines())
    for line in lines:
        command = line
        while command.endswith("\\"):
            command += "\n" + next(lines)
        if end := HEREDOC.search(command):
            for more in lines:
                command += "\n" + more
                if more == end[1]:
                    break
        if command.strip() and not command.lstrip().startswith("#"):
            yield command.strip()


def words_of(command: str) -> list[str] | None:
    """The words of a command that needs no shell; None of one that does."""
    if HEREDOC.search(command):
        return None
    reader = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words = list(reader)
    return None if OPERATORS & {*words} else words


@cache
def _root() -> Any:
    return typer.main.get_command(app)


def verb_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command of typer that words call, and the words that it is given."""
    command = _root()
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no verb '{rest[0]}'"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def unknown_options(words: list[str]) -> list[str]:
    """The options among words that their verb does not have."""
    command, rest = verb_of(words)
    known = {opt for one in command.get_params(typer.Context(command)) for opt in (*one.opts, *one.secondary_opts)}
    return [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]


def examples() -> list[str]:
    """Each example of the help of each verb: one in its line, or several in a block."""
    found = []

    def visit(name: str, command: Any) -> None:
        if hasattr(command, "commands"):
            for word, below in command.commands.items():
                visit(f"{name} {word}".strip(), below)
            return
        _, said, told = inspect.cleandoc(command.help).partition("Example:")
        assert said, f"the help of {name} has no example"
        block = re.search(r"^```sh\n(.*?)^```", told, re.DOTALL | re.MULTILINE)
        own = [*split(block[1])] if block else re.findall(r"`(pdebench [^`]+)`", " ".join(told.split()))
        assert len(own) == 1 or block, f"the help of {name} has several examples, and no block of a line each"
        for one in own:
            assert one.startswith(f"pdebench {name}"), f"the help of {name} has an example of another verb"
        found.extend(own)

    visit("", _root())
    return found


def play(command: str, folder: Path) -> None:
    """Run a command in a folder that has what it reads; that it fails fails the test, with what it said."""
    words = words_of(command)
    if words is None:
        _by_shell(command, folder)
        return
    assert words[0] in HARMLESS, f"{command}: mark it `not run`, or let tests run {words[0]}"
    if words[0] != "pdebench":
        _by_shell(command, folder)
        return
    assert not unknown_options(words)
    given.provide(inputs(words), folder)
    if words[1] == "run" and not {"--smoke", "--only-match"} & {*words}:
        words.append("--smoke")
    here = Path.cwd()
    os.chdir(folder)
    try:
        ran = pdebench_run(*(path for word in words[1:] for path in _globbed(word)))
    finally:
        os.chdir(here)
    assert ran.returncode == 0, f"{command}\nexit status {ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"


def inputs(words: list[str]) -> list[str]:
    """The words that may name what is read, the verb before them."""
    return [words[1], *(word for before, word in pairwise(words[1:]) if before not in WRITES)]


def _globbed(word: str) -> list[str]:
    return (sorted(map(str, Path().glob(word))) or [word]) if "*" in word else [word]


def _by_shell(command: str, folder: Path) -> None:
    """Run what only a shell understands, `pdebench` being this one."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    called = tools / "pdebench"
    called.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pdebench "$@"\n')
    called.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for part in re.split(r"&&|\|", HEREDOC.split(command)[0]):
        assert part.split()[0] in HARMLESS, f"{part}: mark it `not run`, or let tests run it"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
