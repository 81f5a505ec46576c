"""What pages and help tell people to type works: blocks of commands are run, and those within text are understood."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import examples, play, split, unknown_options, verb_of, words_of
from pages import PAGES, ROOT, Block, blocks, inline_code, named
from typer.testing import CliRunner

from pdebench.cli import app

SHELL = [block for page in PAGES for block in blocks(page) if block.language in ("sh", "bash", "shell", "console")]
RUN = sorted({block.page for block in SHELL if not block.reason})
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
# of `--help`: what is not run, and why
NOT_RUN = {
    "regress nightly": "takes a quarter of an hour",
    "baseline save nightly": "takes minutes",
    "doctor --timing": "takes half a minute, and wants a quiet machine",
    "evaluate generated": "fetches Inception's weights",
    "evaluate samples.npz": "fetches Inception's weights",
    "evaluate runs/imagenet256_latent": "fetches Inception's weights",
    "worker runs": "SLURM's jobs call it, with the name of a cell",
    "--check runs/scaling": "needs the training that was predicted",
    "reproduce results": "trains, of the name of a cell",
}
# what counts models on a compiler's graphs, or samples for long
SLOW = (
    "run quickstart --set",
    "plan resolution",
    "list models",
    "inspect --model",
    "docs/published_checkpoints.md",
    "docs/own_images.md",
    "docs/imagenet.md",
)


def each(things: Sequence[str | Path]) -> list[Any]:
    """Parameters of a test, those that take long left to `nox -s chaos`."""
    names = [(thing, named(thing) if isinstance(thing, Path) else thing) for thing in things]
    slow = [pytest.mark.exhaustive]
    return [pytest.param(one, id=name, marks=slow if any(part in name for part in SLOW) else ()) for one, name in names]


@pytest.mark.parametrize("page", each(RUN))
def test_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """One after another, in a folder that has the files that the page shows."""
    for block in blocks(page):
        if (name := FILE.match(block.text)) and block.language not in ("sh", "python"):
            (tmp_path / name[1]).write_text(block.text)
        elif block in SHELL and not block.reason:
            for command in split(block.text):
                play(command, tmp_path)


@pytest.mark.parametrize("block", [block for block in SHELL if block.reason], ids=str)
def test_commands_that_are_not_run(block: Block) -> None:
    """They are understood at least."""
    wrong = [option for command in split(block.text) for option in misread(command)]
    assert not wrong
    pytest.skip(block.reason)


def misread(command: str) -> list[str]:
    """What of a command there is not: a verb, an option, a session, an extra."""
    found = []
    for part in re.split(r"&&|;|\||\n", command):
        words = words_of(part) or []
        if words[:3] == ["python", "-m", "pdebench"]:
            words = words[2:]
        if words[:1] == ["pdebench"]:
            found += unknown_options(words)
        elif words[:2] == ["nox", "-s"]:
            sessions = re.findall(r"@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text())
            found += [word for word in words[2:3] if word not in sessions]
        elif "pip" in words:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            extras = {extra for word in words for one in re.findall(r"^(?:\.|pdebench-mixers)\[(.+)\]", word)
                      for extra in one.split(",")}  # fmt: skip
            found += sorted(extras - {*project["optional-dependencies"]})
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_within_text_are_understood(page: Path) -> None:
    found = []
    for line, code in inline_code(page):
        command = " ".join(code.split()).replace("...", "")
        if re.match(r"(python -m )?pdebench [a-z]|nox -s|python -m pip", command):
            try:
                found += [f"{named(page)}:{line}: {code}: {wrong}" for wrong in misread(command.replace("\\|", "/"))]
            except AssertionError as error:
                found.append(f"{named(page)}:{line}: {code}: {error}")
    assert not found


@pytest.mark.parametrize("command", each(examples()))
def test_examples_of_help_run(command: str, tmp_path: Path) -> None:
    words = words_of(command)
    for part, reason in NOT_RUN.items():
        if part in command:
            assert words is not None
            assert not unknown_options(words)
            pytest.skip(reason)
    play(command, tmp_path)


def test_what_a_block_holds(tmp_path: Path) -> None:
    text = "# why\ncat > a.csv <<'EOF'\nx\n\ny\nEOF\npdebench fit a.csv \\\n  --n x   # of all\n"
    written, fitted = split(text)
    assert written == "cat > a.csv <<'EOF'\nx\n\ny\nEOF"
    assert words_of(written) is None
    assert words_of(fitted) == ["pdebench", "fit", "a.csv", "--n", "x"]
    play(written, tmp_path)
    assert (tmp_path / "a.csv").read_text() == "x\n\ny\n"


@pytest.mark.parametrize(
    ("command", "wrong"),
    [("pdebench run s --retry failed", []), ("pdebench run s --retri failed", ["--retri"]), ("nox -s test", ["test"]),
     ("pdebench data pack x --out y && nox -s docs", []), ("python -m pip install -e '.[data,feature]'", ["feature"])],
)  # fmt: skip
def test_what_is_told_of_a_command(command: str, wrong: list[str]) -> None:
    assert misread(command) == wrong


@pytest.mark.parametrize("command", ["pdebench list nothing", "pip install x", "rm -r x", "cat x && rm x"])
def test_a_command_that_fails_or_may_do_harm_fails_its_test(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        play(command, tmp_path)


@pytest.mark.parametrize("command", examples())
def test_examples_of_help_stand_in_one_line_of_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the terminal's width breaks would be copied as two."""
    monkeypatch.setenv("COLUMNS", "80")
    words = command.split()
    verb = words[1 : len(words) - len(verb_of(words)[1])]
    shown = CliRunner().invoke(app, [*verb, "--help"]).stdout
    assert command in {line.strip().removeprefix("Example: ") for line in shown.splitlines()}
