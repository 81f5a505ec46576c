"""The page of the data sets that a suite can name."""

from __future__ import annotations

from generate.markdown import code, table
from pdebench.data.registry import SOURCES

ABOUT = """\
# Data sets

What `data.name` may be. `resolution` and `flip` hold for all; what each key means stands among the
[keys of a suite](suite_keys.md#data).

"""


def page() -> str:
    """The page, in Markdown."""
    rows = [
        (
            code(name),
            f"{one.summary}. {one.credit}".removesuffix(" "),
            "any" if one.resolutions is None else ", ".join(map(str, one.resolutions)),
            ", ".join(map(code, one.takes)),
        )
        for name, one in ((name, SOURCES[name]) for name in SOURCES.built_in)
    ]
    return ABOUT + table(("Name", "What it holds", "Resolutions, px", "Keys"), rows)
