"""The page of the families of backbones and their options."""

from __future__ import annotations

from generate.markdown import table
from generate.suite_keys import keys
from pdebench.models.grid import KINDS
from pdebench.models.registry import FAMILIES, Family
from pdebench.models.sizes import SIZES
from pdebench.suite.validation import options_of

ABOUT = """\
# Families of backbones

What `model.family` may be, and which options each has: further keys of `model:`, such as
`model: {{family: PDE-SSM-DiT, states: 4}}`. `pdebench list models` counts the parameters and multiply-accumulates of
every size.

## Sizes

What `model.size` may be. A family may have others by its paper, and `model.depth`, `width` and `heads` take the place
of a size's.

{sizes}
"""


def page() -> str:
    """The page, in Markdown."""
    sizes = table(
        ("Size", "Depth", "Width", "Heads"),
        ((name, str(one.depth), str(one.width), str(one.heads)) for name, one in SIZES.items()),
    )
    return ABOUT.format(sizes=sizes) + "\n".join(_family(FAMILIES[name]) for name in FAMILIES.built_in)


def _family(family: Family) -> str:
    takes = ", ".join(KINDS[axes] for axes in sorted(family.axes))
    bound = " Its weights are bound to the resolution that it trains on." if family.bound_to_grid else ""
    paper = f" ({family.paper})" if family.paper else ""
    options = options_of(family.name)
    return (
        f"## {family.name}\n\n{family.summary[:1].upper()}{family.summary[1:]}{paper}. Takes {takes}.{bound}\n\n"
        f"{keys(options) if options else 'It has no options.' + chr(10)}"
    )
