"""A plan in the terminal: a table of 80 columns, what will not fit, and what the predictions rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdebench.data.nouns import called, plural
from pdebench.errors import printable
from pdebench.models.settings import setting_of, shell_of
from pdebench.plan.suite_plan import Plan, Prediction
from pdebench.suite.config import Cell
from pdebench.tasks.registry import TASKS
from pdebench.terminal.prose import say

SHOWN = ("linear", "attention", "fft", "scan")  # kinds with a column for their share of the MACs
MISSING = "—"


def print_plan(console: Console, plan: Plan) -> None:
    """Say what would run, on what, what of it will not fit, and on which assumptions."""
    tell = partial(say, console)
    cells, total = plan.suite.planned(), sum(prediction.predicted_seconds for prediction in plan.predictions)
    flops = sum(prediction.flops_train for prediction in plan.predictions)
    where = f"{plural(len(cells), 'cell')} on {plan.device.name}"
    tell(f"{plan.suite.name}: {where}; {_flops(flops)} training FLOPs, predicted {span(total)} in all")
    console.print(_table(plan, cells))
    for line in (*_warnings(plan, cells), *(f"{warning}." for warning in plan.warnings)):
        tell(line, "red")
    if plan.suite.about_sizes is not None:
        tell(f"Of the models: {plan.suite.about_sizes}.", "red" if plan.suite.unmeasured else "dim")
    tell(f"Memory and times are predicted, not measured: {plan.device.basis['basis']}.", "dim")
    if "efficiency" in plan.device.basis:
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in plan.device.basis["efficiency"].items())
        tell(
            f"Assumed of the datasheet's peaks: {shares}; "
            f"{plan.device.basis['launch_seconds'] * 1e6:g} us an operator at least.",
            "dim",
        )
    for line in _roads(plan, cells):
        tell(line, "dim")
    tell(f"Assumed: {'; '.join(plan.device.basis['assumed'])}.", "dim")
    task = TASKS[plan.suite.task]
    timed = "training and sampling" if task.samples else "training"
    noun = called(cell.data.frames for cell in cells)
    tell(
        f"Shares are of the MACs of one {noun.one}'s forward pass; times are per cell, for {timed}.",
        "dim",
    )
    if not task.conditioned:
        tell("Models are shells without conditioning: no times, no labels, no adaLN; DiT is a ViT here.", "dim")


def _roads(plan: Plan, cells: Sequence[Cell]) -> list[str]:
    """How products in Fourier space are counted, and cells that run from CUDA graphs."""
    told: dict[str, list[str]] = {}
    for cell, prediction in zip(cells, plan.predictions, strict=True):
        if prediction.predicted_road is not None:
            told.setdefault(prediction.predicted_road, []).append(cell.model.family)
    lines = [
        f"Products in Fourier space of {', '.join(dict.fromkeys(families))}: {road}." for road, families in told.items()
    ]
    if plan.device.capability and any(cell.train.compile == "compile-graphs" for cell in cells):
        lines.append(
            "Cells of compile-graphs: without that least time of an operator; graphs' own memory is not counted."
        )
    return lines


def span(seconds: float) -> str:
    """A duration in two or three digits: 12 s, 3.4 min, 5.6 h, 12 d."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            value = seconds / length
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _table(plan: Plan, cells: Sequence[Cell]) -> Table:
    """One line for all cells that cost the same, such as those of several seeds."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    heads = (
        "px",
        "params\nM",
        "MACs\nG",
        "lin\n%",
        "att\n%",
        "fft\n%",
        "scan\n%",
        "train\nFLOPs",
        "mem\nGB",
        "step\nms",
    )
    for head in (*heads, "time"):
        table.add_column(head, justify="right", no_wrap=True)
    groups: dict[tuple[str, str], list[int]] = {}
    names = _names(plan.predictions, cells)
    for index, prediction in enumerate(plan.predictions):
        alike = (names[index], repr(prediction).replace(prediction.cell, ""))
        groups.setdefault(alike, []).append(index)
    for (name, _), members in groups.items():
        model, _, detail = name.partition("\n")
        one = plan.predictions[members[0]]
        shares = [f"{100 * one.macs_by_kind[kind] / one.macs_forward:.0f}" for kind in SHOWN]
        many = f" ×{len(members)}" if len(members) > 1 else ""
        table.add_row(
            Text(printable("\n".join(filter(None, (model + many, detail))))),
            str(one.resolution),
            _digits(one.params / 1e6, 4),
            _digits(one.macs_forward / 1e9),
            *(share if share != "0" else "·" for share in shares),
            _flops(one.flops_train) if one.flops_train else MISSING,
            _memory(one),
            _milliseconds(one.predicted_step_seconds),
            span(one.predicted_seconds),
        )
    return table


def _digits(value: float, digits: int = 3) -> str:
    """A number in so many digits; of one below a tenth four places, since toys need no more and columns are narrow."""
    return f"{value:.{digits}g}" if value >= 0.1 else f"{value:.4f}"


def _flops(count: float) -> str:
    return f"{count:.1e}".replace("e+0", "e").replace("e+", "e") if count else "0"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _memory(prediction: Prediction) -> Text:
    if prediction.predicted_memory_bytes is None:
        return Text(MISSING)
    text = _digits(prediction.predicted_memory_bytes / 1e9)
    return Text(text) if prediction.predicted_fits else Text(f"{text}!", "red")


def _names(predictions: Sequence[Prediction], cells: Sequence[Cell]) -> list[str]:
    """The model of each cell and, where it has several of one name and resolution, what else its cost depends on."""
    told = [setting_of(cell.model.family, cell.flat()) for cell in cells]
    details = [
        {
            "setting": str(setting),
            "shell": shell_of(cell.model.family, cell.flat()),
            "width": f"width {cell.model.width}",
            "depth": f"depth {cell.model.depth}",
            "data": cell.data.name,
            "frames": f"{cell.data.frames} frames",
            "patch_frames": f"patch_frames {cell.model.patch_frames}",
            "batch": f"batch {cell.train.batch_size}",
            "steps": plural(cell.train.steps, "step"),
            "precision": cell.train.precision,
            **TASKS[cell.task].told(cell.evaluate),
        }
        for cell, setting in zip(cells, told, strict=True)
    ]
    names = []
    for prediction, own in zip(predictions, details, strict=True):
        alike = [
            other
            for one, other in zip(predictions, details, strict=True)
            if (one.model_name, one.resolution) == (prediction.model_name, prediction.resolution)
        ]
        varied = [own[key] for key in own if len(Counter(other.get(key) for other in alike)) > 1]
        names.append("\n".join(filter(None, (prediction.model_name, ", ".join(varied)))))
    return names


def _warnings(plan: Plan, cells: Sequence[Cell]) -> list[str]:
    """One line for each kind of trouble that can be foreseen, with its cells."""
    lines = []
    found = [prediction for prediction in plan.predictions if prediction.predicted_fits is False]
    if found:
        batches = {cell.id: cell.train.batch_size for cell in cells}
        each = dict.fromkeys(
            f"{one.model_name} at {one.resolution} px, batch {batches[one.cell]}: "
            f"{(one.predicted_memory_bytes or 0) / 1e9:.3g} GB ({one.predicted_fitting_batch or 'none'})"
            for one in found
        )
        lines.append(
            f"{plural(len(found), 'cell')} will not fit in the {plan.device.memory / 1e9:.3g} GB "
            f"that can be used (marked !, in brackets about the largest batch that would): {'; '.join(each)}."
        )
    limit = plan.suite.limits.seconds
    late = [one for one in plan.predictions if limit is not None and one.predicted_seconds > limit]
    if late and limit is not None:
        each = dict.fromkeys(f"{one.model_name} at {one.resolution} px ({span(one.predicted_seconds)})" for one in late)
        lines.append(f"predicted to take longer than limits.seconds ({span(limit)}): {'; '.join(each)}.")
    return lines
