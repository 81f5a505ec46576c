"""The page of the columns that tables of results have."""

from __future__ import annotations

from generate.markdown import code, table
from pdebench.column import Column
from pdebench.metrics.columns import COLUMNS as OF_METRICS
from pdebench.results.record import COLUMNS

ABOUT = """\
# Columns of a table

What `table.csv` and `table.parquet` have of each cell. Beside these there is a column for each
[key of the suite](suite_keys.md), dotted, such as `model.family`. What was not measured is empty, never 0.

"""


def page() -> str:
    """The page, in Markdown."""
    rows = ((code(name), _type(one), one.meaning or _of_another(name), _notes(one)) for name, one in _all().items())
    return ABOUT + table(("Column", "Type", "Meaning", "Notes"), rows)


def _all() -> dict[str, Column]:
    return {**COLUMNS, **OF_METRICS}


def _type(one: Column) -> str:
    return {"Int64": "whole number", "Float64": "number", "boolean": "true or false"}.get(one.dtype, "text")


def _of_another(name: str) -> str:
    """What a column means that says so together with another: quartiles with their median."""
    for end, told in {"_q1": "lower quartile of", "_q3": "upper quartile of", "_high": "upper end of"}.items():
        of = f"{name.removesuffix(end)}{'_low' if end == '_high' else '_median'}"
        if name.endswith(end) and of in COLUMNS:
            return f"{told} {code(of)}"
    return name.replace("_", " ")


def _notes(one: Column) -> str:
    gates = {"exact": "gated: any difference", "learned": "gated: any difference", "cost": "gated: as a cost"}
    said = [one.unit, gates[one.gate] if one.gate else "", "only of cells that ran alone" if one.timed else ""]
    return "; ".join(filter(None, said))
