"""What `pdebench list` shows; imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def suites() -> Rows:
    """The shipped suites, with the number of their cells."""
    from pdebench.suite import load_suite, shipped_suites

    rows = []
    for name, path in shipped_suites().items():
        suite = load_suite(path)
        rows.append({"suite": name, "cells": len(suite.cells()), "asks": suite.description})
    return rows


def models() -> Rows:
    """Every family, what it takes in a suite, and the sizes that each comes in."""
    from pdebench.models.registry import FAMILIES
    from pdebench.models.sizes import SIZES

    return [
        {
            "family": family.name,
            "mixer": f"{family.summary} ({family.paper})",
            "options": "\n".join(
                f"{key}: {_plain(field.default)}" for key, field in family.options.model_fields.items()
            ),
            "sizes": "\n".join(f"{name} {size.depth}x{size.width}" for name, size in SIZES.items()),
        }
        for family in FAMILIES.values()
    ]


def _plain(value: Any) -> str:
    """A default as a suite would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def data() -> Rows:
    """The registered data sets."""
    from pdebench.data.registry import SOURCES

    return [
        {
            "data": source.name,
            "px": "any" if source.resolutions is None else " ".join(map(str, source.resolutions)),
            "what": source.summary,
        }
        for source in SOURCES.values()
    ]


def metrics() -> Rows:
    """The registered metrics."""
    from pdebench.measure.quality import METRICS

    return [{"metric": metric.name, "what": metric.summary} for metric in METRICS.values()]


LISTS: dict[str, Callable[[], Rows]] = {"suites": suites, "models": models, "data": data, "metrics": metrics}


def print_rows(rows: Rows) -> None:
    """Rows as a table that wraps within the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for i, column in enumerate(rows[0] if rows else ()):
        table.add_column(column, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row.values()))
        table.add_section()
    Console().print(table)
