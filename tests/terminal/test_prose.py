"""Sentences that are printed: lines of the terminal's width, and no path or address in two pieces."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from pdebench.terminal.prose import say

WORDS = st.lists(st.text("abc/[]-_.", min_size=1, max_size=60), min_size=1, max_size=30)


def said(text: str, width: int, lead: Text | str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    say(console, text, "dim", lead=lead)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@given(WORDS, st.integers(20, 120), st.sampled_from(["", "   note: ", Text("ok       ", "green")]))
def test_lines_hold_whole_words_within_the_width(words: list[str], width: int, lead: Text | str) -> None:
    lines, before = said(" ".join(words), width, lead), len(lead)
    assert lines[0].startswith(str(lead))
    assert all(line.startswith(" " * before) for line in lines[1:])
    assert " ".join(line[before:] for line in lines).split() == words
    assert all(len(line) <= width or " " not in line[before:] for line in lines)


def test_an_address_is_whole_and_lines_of_a_text_stay_apart() -> None:
    address = "https://example.org/" + "a" * 70
    assert said(f"fetch {address} to\n~/weights", 40) == ["fetch", address, "to", "~/weights"]
