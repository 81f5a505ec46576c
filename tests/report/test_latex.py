"""Tables that a paper can take as they are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pdebench.report import latex


@given(st.text())
def test_no_text_is_a_command_or_a_character_that_pdflatex_lacks(text: str) -> None:
    escaped = latex.escape(text)
    known = sorted(map(re.escape, latex.ESCAPES.values()), key=len, reverse=True)
    rest = re.sub("|".join(known), "", escaped)
    assert not set(rest) & set("\\{}$&#^_%~")
    assert max(rest, default="") <= "\u017f"
    assert "\n" not in escaped


def test_a_table_has_rules_escaped_names_and_as_many_cells_as_headings() -> None:
    text = latex.tabular(
        ["Family", "val_loss"],
        [["PDE & SSM", "0.21"], ["DiT_50%", "−0.1"], ["漢", "—"]],
        numeric=[False, True],
        bold=[[False, True], [False, False], [False, False]],
        groups=["a", "a", "b"],
    )
    lines = text.splitlines()
    assert lines[1:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"Family & val\_loss \\",
        r"\midrule",
        r"PDE \& SSM & \textbf{0.21} \\",
        r"DiT\_50\% & $-$0.1 \\",
        r"\midrule",
        r"{}[U+6F22] & --- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown_stays_a_table_whatever_stands_in_a_cell() -> None:
    text = latex.markdown(["a"], [["x | y\n*z*"]], numeric=[True], bold=[[True]])
    assert text == "| a |\n| ---: |\n| **x \\| y \\*z\\*** |\n"
