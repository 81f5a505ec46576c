"""What `pdebench list` shows. Counting models takes torch, which is imported when they are asked for."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.errors import FOREIGN, PdebenchError

if TYPE_CHECKING:
    from rich.console import Console

    from pdebench.data.source import Source
    from pdebench.registry import Registry

Rows = list[dict[str, Any]]

RESOLUTIONS = (256, 512)  # pixels of the images whose latents, an eighth of the side, a backbone sees
PATCH = 2
_LARGEST = 2**20  # bytes of a family's rows in the cache


def suites() -> Rows:
    """The shipped suites, with the number of their cells."""
    from pdebench.suite.load import load_suite, shipped_suites

    rows = []
    for name, path in shipped_suites().items():
        suite = load_suite(path)
        rows.append({"suite": name, "cells": len(suite.planned()), "asks": suite.description})
    return rows


def models(shell: str = "dit") -> Iterator[dict[str, Any]]:
    """Every family at every size, at 256 and 512 px: see `models_of`; a family's rows as soon as they are counted.

    One of another package that cannot be had or counted is a row with `failed`, why.
    """
    from pdebench.models.registry import FAMILIES

    for name in FAMILIES:
        try:
            yield from models_of(name, shell)
        except FOREIGN as error:  # another package's mixer may fail in any way
            if name in FAMILIES.built_in:
                raise
            said = str(error) if isinstance(error, PdebenchError) else f"{type(error).__name__}: {error}"
            yield {"family": name, "failed": said}


def models_of(name: str, shell: str = "dit") -> Rows:
    """A family at every size, at 256 and 512 px, counted on the meta device, in a shell of `shell_options.PRESETS`.

    Patch 2 of latents of 32 x 32 x 4 and 64 x 64 x 4 and 1000 classes, as in DiT's tables, without a learned variance.
    What was counted before is read from the user's cache. Leaves PyTorch, where it is needed, with one thread.
    """
    from pdebench.files.seal import read_sealed
    from pdebench.models.registry import FAMILIES
    from pdebench.models.shell_options import ShellOptions
    from pdebench.models.sizes import SIZES
    from pdebench.plan.cost_cache import entry_of, keep_entry

    family = FAMILIES[name]
    around = ShellOptions.model_validate({"preset": shell}).changes(family)
    build = {"input_size": RESOLUTIONS[0] // 8, "shell": around}
    path = entry_of(f"{name}-{next(iter(SIZES))}/{PATCH}", build, "lists", list(SIZES), Path(__file__).read_text())
    if path is not None and (found := read_sealed(path, _LARGEST)) is not None and isinstance(found.get("rows"), list):
        return list(found["rows"])
    gc.disable()  # an eighth of the time, mostly while torch is imported, and there is next to no garbage
    try:
        rows = _counted(name, around)
    finally:
        gc.enable()
    if path is not None:
        keep_entry(path, {"rows": rows})
    return rows


def _counted(name: str, around: dict[str, Any]) -> Rows:
    """The rows of a family that were not counted before."""
    import torch

    from pdebench.models.registry import FAMILIES
    from pdebench.models.sizes import SIZES
    from pdebench.plan.cost import count_one_block

    torch.set_num_threads(1)  # there is nothing to compute: more of them would only wait, and get in the way
    family, rows = FAMILIES[name], []
    options = family.options()
    for size in SIZES:
        depth, width, heads, _ = family.dimensions(size, options)
        for resolution in RESOLUTIONS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a kernel that is absent matters to those who run the model
                cost, params = count_one_block(f"{name}-{size}/{PATCH}", input_size=resolution // 8, shell=around)
            rows.append(
                {
                    "family": name,
                    "size": size,
                    "depth": depth,
                    "width": width,
                    "heads": heads,
                    "patch": PATCH,
                    "resolution": resolution,
                    "params": params,
                    "macs": cost.macs,
                    "mixer": family.summary,
                    "paper": family.paper,
                    "options": options.model_dump(mode="json"),
                    "shell": around,
                }
            )
    return rows


def _plain(value: Any) -> str:
    """A default as a suite would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def data() -> Rows:
    """The registered data sets, those of other packages that are not to be had with why."""
    from pdebench.data.registry import SOURCES

    def sides(source: Source) -> str:
        return "any" if source.resolutions is None else " ".join(map(str, source.resolutions))

    return [{"data": name, "px": sides(one), "what": one.summary} for name, one in SOURCES.at_hand().items()] + [
        {"data": name, "px": "-", "what": why} for name, why in SOURCES.broken().items() if name not in SOURCES.built_in
    ]


def metrics() -> Rows:
    """The registered metrics and their weights, those of other packages that are not to be had with why."""
    from pdebench.metrics.extractor_weights import ORIGINS
    from pdebench.metrics.registry import METRICS

    def weights(name: str) -> str:
        metric = METRICS.at_hand().get(name)
        return "" if metric is None or metric.extractor is None else f"; weights: {ORIGINS[metric.extractor]}"

    return [row | {"what": row["what"] + weights(row["metric"])} for row in _told("metric", METRICS)]


def tasks() -> Rows:
    """The registered tasks, those of other packages that are not to be had with why."""
    from pdebench.tasks.registry import TASKS

    return _told("task", TASKS)


def _told(title: str, registry: Registry[Any]) -> Rows:
    told = registry.broken() | {name: thing.summary for name, thing in registry.at_hand().items()}
    return [{title: name, "what": what} for name, what in told.items()]


LISTS: dict[str, Callable[[], Rows]] = {
    "suites": suites,
    "models": lambda: list(models()),
    "data": data,
    "metrics": metrics,
    "tasks": tasks,
}


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


def counted(rows: Iterable[dict[str, Any]], said: Callable[[int, int], None]) -> Iterator[dict[str, Any]]:
    """The same rows; `said` is told of how many of how many families they are."""
    from pdebench.models.registry import FAMILIES

    seen: dict[str, None] = {}
    said(0, len(FAMILIES))
    for row in rows:
        seen[row["family"]] = None
        said(len(seen), len(FAMILIES))
        yield row


def print_models(rows: Iterable[dict[str, Any]], shell: str = "dit") -> None:
    """`models(shell)` as a table a family, each printed as soon as it is counted."""
    from rich.console import Console

    from pdebench.terminal.bar import bar

    console = Console(highlight=False)
    with bar("counting", "families", after=1.0, console=console) as said:
        _print_models(console, counted(rows, said), shell)


def _print_models(console: Console, rows: Iterable[dict[str, Any]], shell: str) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console.print(
        f"Patch {PATCH}, 1000 classes, no learned variance; latents of 32 x 32 x 4 for 256 px, of 64 x 64 x 4 for "
        "512 px. Parameters in millions; GMACs are billions of multiply-accumulates an image (1 MAC = 2 FLOPs)."
    )
    for name, group in groupby(rows, key=lambda row: row["family"]):
        of_family = list(group)
        if "failed" in of_family[-1]:
            console.print(Text.assemble("\n", (name, "bold"), f": cannot be listed: {of_family[-1]['failed']}"))
            continue
        options = ", ".join(f"{key} {_plain(value)}" for key, value in of_family[0]["options"].items())
        console.print()
        paper = f" ({of_family[0]['paper']})" if of_family[0]["paper"] else ""
        console.print(Text.assemble((name, "bold"), f": {of_family[0]['mixer']}{paper}"))
        console.print(Padding(Text(f"options: {options or 'none'}", "dim"), (0, 0, 0, 2), expand=False))
        if shell != "dit":
            had = ", ".join(f"{key} {_plain(value)}" for key, value in of_family[0]["shell"].items())
            console.print(Padding(Text(f"of the {shell} shell: {had or 'nothing'}", "dim"), (0, 0, 0, 2), expand=False))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("size", "depth", "width", "heads"):
            table.add_column(column, justify="left" if column == "size" else "right")
        for resolution in RESOLUTIONS:
            table.add_column(f"params {resolution}", justify="right")
            table.add_column(f"GMACs {resolution}", justify="right")
        for _, of_size in groupby(of_family, key=lambda row: row["size"]):
            small, large = of_size
            numbers = [f"{cell:.2f}" for row in (small, large) for cell in (row["params"] / 1e6, row["macs"] / 1e9)]
            shape = (small["depth"], small["width"], small["heads"] or "-")
            table.add_row(small["size"], *map(str, shape), *numbers)
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
