"""One self-contained page from the results table: no network, no other file, no code from a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from pdebench.report import formatting, palette, vega
from pdebench.report.frame import SUBJECT, families_in, family_order, finished, make_frame, noun_of
from pdebench.report.looks import looks_of
from pdebench.report.section import Page, PageSection, SweepProgress
from pdebench.report.sections import tables
from pdebench.report.sections.ablation import AblationTable, ablation_tables
from pdebench.report.sections.beside import beside
from pdebench.report.sections.classification import classification
from pdebench.report.sections.costs import costs
from pdebench.report.sections.curves import loss_curves
from pdebench.report.sections.glossary import glossary
from pdebench.report.sections.learned import learned_section
from pdebench.report.sections.predicted import predicted
from pdebench.report.sections.provenance import provenance, suite_names
from pdebench.report.sections.published import published
from pdebench.report.sections.quality import quality
from pdebench.report.sections.samples import sample_rows
from pdebench.report.sections.scaling import scaling_section
from pdebench.report.sections.segmentation import segmentation
from pdebench.report.sections.spatial import spatial_section
from pdebench.report.sections.summary import Summary, summarise
from pdebench.report.sections.warnings import warned
from pdebench.results.store import LEFT_OUT, REMARKS, write_own

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Findings:
    """What the page says first; `machines` counts those that ran cells, whose timings must not be mixed."""

    summary: Summary
    ablations: list[AblationTable]
    machines: int


def sections(page: Page) -> list[PageSection]:
    """Every section that the page has something for, in its order; `section` says how to add one."""
    _bundle()  # which the page needs, is made meanwhile
    table = page.table
    ablations = ablation_tables(table)
    scaling = scaling_section(table, page.folders)
    others = beside(finished(table), page.comparisons)
    multiples = scaling.multiples if scaling else ""
    summary = summarise(table, page.comparisons, beside=others.claim if others else "", multiples=multiples)
    made = [
        PageSection(
            "findings",
            "Findings",
            Findings(summary, ablations, table["machine_fingerprint"].nunique()),
        ),
        PageSection("beside", f"Beside {SUBJECT}", others),
        PageSection("glossary", "Words", glossary(table)),
        PageSection("ablation", "Ablation", ablations),
        PageSection("classification", "Classification", classification(table, page.comparisons)),
        PageSection("quality", "Quality", quality(table)),
        PageSection("segmentation", "Segmentation", segmentation(table, page.folders)),
        PageSection("published", "Published results", published(table)),
        PageSection("throughput", "Throughput", costs(table, "speed")),
        PageSection("memory", "Memory", costs(table, "memory")),
        PageSection("scaling", "Scaling", scaling),
        PageSection("spatial", "In space", spatial_section(table, page.folders)),
        PageSection("learned", "What was learned", learned_section(table, page.folders)),
        PageSection("predicted", "Predictions", predicted(table, page.folders)),
        PageSection("curves", "Loss curves", loss_curves(table, page.curves)),
        PageSection("samples", "Samples", sample_rows(table, page.folders)),
        PageSection("warnings", "Warnings", warned(table)),
        PageSection("left_out", "Left out", page.left_out),
        PageSection("failures", "Failures", tables.failures(table)),
        PageSection("table", "Table", tables.full_table(table)),
        PageSection("provenance", "Provenance", provenance(page)),
        PageSection("conventions", "Conventions", tables.conventions(table)),
    ]
    return [section for section in made if section.content]


def write_report(frame: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> Path:
    """Write `folder/report.html` and return its path.

    Args:
        frame: one row a cell, as `pdebench.load_results` gives it; columns may be missing. What its `attrs` and those
            of the curves say was left out, the page says.
        curves: columns cell, step, train_loss, val_loss (null between evaluations); may be empty.
        folder: the results folder; sample grids are read from its `cells/<cell>/samples.png`, and what was predicted
            from its `predictions.json`.

    The file is replaced whole or not at all, is under 5 MB, and is the same for the same input.

    Raises:
        ResultsError: the folder cannot be written, or its `report.html` is somebody else's.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page = make_page(frame, curves, {"": folder})
    return write_page(page, sections(page), folder)


def make_page(
    frame: pd.DataFrame, curves: pd.DataFrame, sources: Mapping[str, Path], progress: SweepProgress | None = None
) -> Page:
    """The frames of several folders made ready for the sections; `folders.load` gives frames and sources."""
    left_out = [text for one in (frame, curves) for text in one.attrs.get(LEFT_OUT, ())]
    return Page(make_frame(frame), curves, sources, progress, left_out, frame.attrs.get(REMARKS, ()))


def write_page(page: Page, parts: Sequence[PageSection], folder: Path) -> Path:
    """Write `folder/report.html` from its sections and return its path; see `write_report`."""
    write_own(folder, "report.html", render(page, parts))
    return folder / "report.html"


def render(page: Page, parts: Sequence[PageSection]) -> str:
    """The page as text; see `write_report`."""
    table = page.table
    figures = [figure for part in parts for figure in part.figures]
    template = _environment().get_template("template.html")
    looks = looks_of(family_order(table))
    return template.render(
        title=formatting.listed(sorted(suite_names(page))) or "no results",
        opening=parts[0].content.summary.opening,
        cells=parts[0].content.summary.cells,
        progress=page.progress,
        remarks=page.remarks,
        finished_at=_moment(table["finished_at"]),
        sections=parts,
        **shared(table),
        css=Markup(palette.css(looks) + (HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "report.js").read_text(encoding="utf-8")),
        vega=Markup(_vega() if figures else ""),
        specs=embedded(
            {
                "config": palette.page_config(looks),
                "charts": {figure.name: _without_legends(figure.spec()) for figure in figures},
            }
        ),
    )


def shared(table: pd.DataFrame) -> dict[str, Any]:
    """What every partial sees besides its section."""
    order = family_order(table)
    return {
        "subject": SUBJECT,
        "families": [(name, order.index(name)) for name in families_in(table)],
        "shapes": [look.shape for look in looks_of(order)],
        "missing": formatting.MISSING,
        "noun": noun_of(table),
    }


def embedded(value: Any) -> Markup:
    """JSON that is safe inside a `<script>` element: no text in it can close the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _without_legends(part: Any) -> Any:
    """The page draws one key of the families a section, which wraps on a phone; each chart's would repeat it."""
    if isinstance(part, dict):
        kept = {key: _without_legends(value) for key, value in part.items()}
        return {**kept, "legend": None} if part.get("field") == "family" and "legend" in part else kept
    return [_without_legends(item) for item in part] if isinstance(part, list) else part


def _moment(values: pd.Series) -> str:
    """The latest of some ISO 8601 times, to the minute, in UTC; empty where none can be read."""
    times = pd.to_datetime(values.dropna().astype(str), errors="coerce", utc=True, format="ISO8601").dropna()
    return f"{times.max():%Y-%m-%d %H:%M} UTC" if len(times) else ""


_bundle = cache(vega.bundle)


@cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script without dependencies."""
    return str(_bundle().result()).replace("</script", "<\\/script")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
