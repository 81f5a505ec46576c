"""One self-contained page from the results table: no network, no other file, no code from a record."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import vl_convert
from markupsafe import Markup

from pdebench.report import palette, tables, words
from pdebench.report.ablation import ablations
from pdebench.report.charts import cost_figures, loss_figure, quality_figures
from pdebench.report.predicted import predicted
from pdebench.report.samples import sample_rows
from pdebench.report.summary import summarise
from pdebench.report.tidy import SUBJECT, families_in, family_order, finished, tidy
from pdebench.store import write_atomic

HERE = Path(__file__).parent


def write_report(frame: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> Path:
    """Write `folder/report.html` and return its path.

    Args:
        frame: one row a cell, as `pdebench.load_results` gives it; columns may be missing.
        curves: columns cell, step, train_loss, val_loss (null between evaluations); may be empty.
        folder: the results folder; sample grids are read from its `cells/<cell>/samples.png`, and what was predicted
            from its `predictions.json`.

    The file is replaced whole or not at all, is under 5 MB, and is the same for the same input.

    Raises:
        ResultsError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "report.html", render(frame, curves, folder))
    return folder / "report.html"


def render(frame: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> str:
    """The page as text; see `write_report`."""
    table = tidy(frame)
    done = finished(table)
    quality = quality_figures(table)
    speed, memory = cost_figures(table, "speed"), cost_figures(table, "memory")
    loss = loss_figure(table, curves)
    every = [figure for _, figures in quality for figure in figures] + speed + memory + ([loss] if loss else [])
    order = family_order(table)
    kinds = words.listed(sorted(str(kind) for kind in done["peak_memory_kind"].dropna().unique()))
    return _template().render(
        title=words.listed(sorted({str(name) for name in table["suite"].dropna()})) or "no results",
        summary=summarise(table),
        ablations=ablations(table),
        subject=SUBJECT,
        families=[(name, order.index(name) % len(palette.LIGHT)) for name in families_in(table)],
        shapes=palette.SHAPES,
        quality=quality,
        speed=speed,
        memory=memory,
        memory_kinds=kinds,
        predicted=predicted(table, folder),
        loss=loss,
        samples=sample_rows(table, folder),
        failures=tables.failures(table),
        table=tables.full_table(table),
        machines=tables.machines(table),
        fingerprints=table["machine_fingerprint"].nunique(),
        dirty=tables.dirty(table),
        metric_facts=tables.metric_facts(done),
        small_samples=tables.small_samples(done),
        uncounted=tables.uncounted(done),
        cells=len(table),
        finished_at=_moment(table["finished_at"]),
        css=Markup(palette.css() + (HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "report.js").read_text(encoding="utf-8")),
        vega=Markup(_vega() if every else ""),
        specs=embedded(
            {
                "config": palette.page_config(),
                "charts": {figure.name: _without_legends(figure.spec()) for figure in every},
            }
        ),
        missing=words.MISSING,
    )


def embedded(value: Any) -> Markup:
    """JSON that is safe inside a `<script>` element: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _without_legends(part: Any) -> Any:
    """The page draws one key a section, which wraps on a phone; a legend in each chart would repeat it."""
    if isinstance(part, dict):
        return {key: None if key == "legend" else _without_legends(value) for key, value in part.items()}
    return [_without_legends(item) for item in part] if isinstance(part, list) else part


def _moment(values: pd.Series) -> str:
    """The latest of some ISO 8601 times, to the minute, in UTC; empty where none can be read."""
    times = pd.to_datetime(values.dropna().astype(str), errors="coerce", utc=True, format="ISO8601").dropna()
    return f"{times.max():%Y-%m-%d %H:%M} UTC" if len(times) else ""


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script without dependencies."""
    bundle = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html")
