"""A table as LaTeX that any pdfLaTeX takes: booktabs rules, names escaped, no character that it has no glyph for."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from pdebench.errors import printable

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "–": "--",
    "—": "---",
    "’": "'",
    "…": r"\dots{}",
}
LAST_OF_LATIN = "\u017f"  # what pdfLaTeX sets without a package


def escape(text: str) -> str:
    """The text as LaTeX shows it literally; a character that pdfLaTeX cannot set is named by its code point."""
    return "".join(ESCAPES.get(char) or _plain(char) for char in " ".join(text.split()))


def _plain(char: str) -> str:
    if char > LAST_OF_LATIN or unicodedata.category(char).startswith("C"):
        return f"[U+{ord(char):04X}]"
    return char


def tabular(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[bool],
    bold: Sequence[Sequence[bool]] | None = None,
    groups: Sequence[str] | None = None,
) -> str:
    """A `tabular` to `\\input` into a table.

    Args:
        columns: headings.
        rows: texts, as many as there are headings.
        numeric: which columns are set flush right.
        bold: which cells are set bold.
        groups: the group of each row; a rule stands where another begins.
    """
    lines = [
        "% needs \\usepackage{booktabs}; \\input this file inside a table, and \\resizebox it where it is too wide",
        f"\\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
        "\\toprule",
        " & ".join(map(escape, columns)) + r" \\",
        "\\midrule",
    ]
    for place, row in enumerate(rows):
        if groups and place and groups[place] != groups[place - 1]:
            lines.append("\\midrule")
        cells = [escape(text) for text in row]
        if bold:
            cells = [f"\\textbf{{{text}}}" if loud else text for text, loud in zip(cells, bold[place], strict=True)]
        line = " & ".join(cells)
        # a line break or a rule takes a bracket or a star that follows for its own
        lines.append(("{}" if line.startswith(("[", "*")) else "") + line + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def markdown(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[bool], bold: Sequence[Sequence[bool]]
) -> str:
    """The same table as GitHub's Markdown has it."""

    def cell(text: str, loud: bool = False) -> str:
        text = printable(" ".join(text.split()))
        for char in "\\`*_{}[]<>|":
            text = text.replace(char, "\\" + char)
        return f"**{text}**" if loud else text

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    body = [line([cell(*pair) for pair in zip(*both, strict=True)]) for both in zip(rows, bold, strict=True)]
    rule = line(["---:" if right else "---" for right in numeric])
    return "\n".join([line([cell(name) for name in columns]), rule, *body, ""])
