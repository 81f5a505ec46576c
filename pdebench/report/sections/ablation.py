"""The ablation: one table for each family that ran with several settings of its own options, and what it says.

All else is equal within a table: data, size, training. A setting is compared with the plain one seed by seed, because
two runs of one seed see the same images in the same order with the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pdebench.models.settings import OptionSetting, plain
from pdebench.report import formatting
from pdebench.report.ablations import Ablation, Arm, ablations, machine_of
from pdebench.report.forest import Bar, bars
from pdebench.report.frame import DIMENSIONS
from pdebench.report.sections.summary import Finding
from pdebench.stats.paired import FEWEST_PAIRS, PairedDifference

MOST_SEEDS = 4
"""Seeds whose losses are shown one by one; of more, the range is."""


@dataclass(frozen=True)
class AblationRow:
    """One line of the table, as it is shown. `part` changes where another part of the design begins."""

    name: str
    detail: str
    family: str
    part: str
    params: str
    macs: str
    loss: str
    losses: str
    mark: str
    difference: str
    interval: str
    verdict: str
    bar: Bar | None
    step: str
    ratio: str
    ran: str
    failed: str


@dataclass(frozen=True)
class AblationTable:
    """One table: its settings, then other families for reference, and the sentences that it stands for.

    Attributes:
        title: `PDE-SSM-DiT-XXS/4 at 32 px`.
        better: settings that lose something and are better for it.
        findings: everything else there is to say of it.
    """

    title: str
    rows: list[AblationRow]
    references: list[AblationRow]
    notes: list[str]
    better: list[Finding]
    findings: list[Finding]


def ablation_tables(table: pd.DataFrame) -> list[AblationTable]:
    """Every ablation in a frame (see `frame.make_frame`); none where no family's own options varied."""
    return [
        AblationTable(ablation.title, *_rows(ablation), _notes(ablation), _better(ablation), _findings(ablation))
        for ablation in ablations(table)
    ]


def _rows(ablation: Ablation) -> tuple[list[AblationRow], list[AblationRow]]:
    everyone = [*ablation.arms, *ablation.references]
    differences = [ablation.difference(arm) for arm in everyone]
    marks = _marks(ablation.arms)
    rows = [
        _row(ablation, arm, difference, bar, marks.get(place, ""))
        for place, (arm, difference, bar) in enumerate(zip(everyone, differences, bars(differences), strict=True))
    ]
    return rows[: len(ablation.arms)], rows[len(ablation.arms) :]


def _marks(arms: Sequence[Arm]) -> dict[int, str]:
    """Places of the lowest and the highest loss, among the settings with all seeds: fewer may be the lucky ones."""
    most = max(len(arm.losses) for arm in arms)
    whole = {place: arm.loss for place, arm in enumerate(arms) if arm.losses and len(arm.losses) == most}
    if len(set(whole.values())) < 2:
        return {}
    words_of = {min(whole.values()): "lowest", max(whole.values()): "highest"}
    return {place: words_of[loss] for place, loss in whole.items() if loss in words_of}


def _row(ablation: Ablation, arm: Arm, difference: PairedDifference | None, bar: Bar | None, mark: str) -> AblationRow:
    default, setting = arm is ablation.default, arm.setting
    step = arm.step(ablation.machine)
    base = ablation.default.step(ablation.machine) if ablation.default else math.nan
    # a timing whose machine is not known compares with nothing
    ratio = step / base if ablation.machine and base and not default else math.nan
    name, _, detail = plain(arm.family).partition(": ") if default else (str(setting or arm.family), "", arm.detail)
    return AblationRow(
        name=name,
        detail=detail,
        family=arm.family,
        part=_part(setting),
        params=formatting.number(arm.rows["params"].median()),
        macs=formatting.number(arm.rows["macs_forward"].median() / 1e9),
        loss=formatting.MISSING if math.isnan(arm.loss) else f"{arm.loss:,.{ablation.places}f}",
        losses=_losses(ablation, arm),
        mark=mark,
        difference="" if default else ablation.signed(difference.mean) if difference else formatting.MISSING,
        interval=ablation.interval(difference) if difference else "",
        verdict=_verdict(difference)
        if arm.losses and ablation.default and ablation.default.losses and not default
        else "",
        bar=bar,
        step=formatting.number(step, 3),
        ratio="" if math.isnan(ratio) else f"{ratio:.2f}×",
        ran=f"{len(arm.done)} of {len(arm.rows)}" if arm.failed else str(len(arm.done)),
        failed=arm.failed,
    )


def _part(setting: OptionSetting | None) -> str:
    if setting is None:
        return "reference"
    if len(setting.groups()) > 1:
        return "mixed"
    return "plain" if not setting.changes else "terms" if setting.only_off else "options"


def _losses(ablation: Ablation, arm: Arm) -> str:
    """The loss of each seed where there are a few, in the order of the seeds; else the range."""
    values = list(arm.losses.values())
    if len(values) < 2:
        return ""
    texts = [f"{value:,.{ablation.places}f}" for value in (values if len(values) <= MOST_SEEDS else sorted(values))]
    return " ".join(texts) if len(values) <= MOST_SEEDS else f"{texts[0]} to {texts[-1]}"


def _verdict(difference: PairedDifference | None) -> str:
    if difference is None:
        return "no seed in common with plain"
    if difference.low is None:
        return f"{formatting.plural(difference.pairs, 'seed')}: no interval"
    return "not distinguishable" if difference.covers_zero else ""


def _notes(ablation: Ablation) -> list[str]:
    notes = []
    if ablation.default is None or not ablation.default.losses:
        state = "was not run" if ablation.default is None else "has no result"
        notes.append(f"The plain setting {state}, so there is nothing to take a difference from.")
    else:
        differences = [ablation.difference(arm) for arm in [*ablation.arms, *ablation.references]]
        notes.append("Difference: the loss less that of the plain setting with the same seed, mean over seeds.")
        if any(item and item.low is not None for item in differences):
            notes.append(
                "Intervals are Student’s t over the paired seeds, each by itself: of twenty settings that change "
                "nothing, about one would seem to by chance. Not distinguishable: the interval covers 0."
            )
        if any(item and item.low is None for item in differences):
            notes.append(
                f"With fewer than {FEWEST_PAIRS} seeds in common there is no interval, and nothing is claimed."
            )
    rows = pd.concat([arm.rows for arm in ablation.arms])
    if "train.lr" in rows and rows["train.lr"].nunique() == 1:
        rate = rows["train.lr"].iloc[0]
        notes.append(f"All settings trained at one learning rate, {rate:g}; some might do better at another.")
    varied = [name.partition(".")[2].replace("_", " ") for name in DIMENSIONS if rows[name].nunique() > 1]
    if varied:
        notes.append(f"The settings differ in {formatting.listed(varied)}, too; the last table has them.")
    done = pd.concat([arm.done for arm in [*ablation.arms, *ablation.references]])
    if done["train_step_ms_median"].notna().any():
        notes.append("Steps were timed cell after cell, not interleaved: small ratios mean nothing.")
    elsewhere = int((machine_of(done) != ablation.machine).sum())
    if elsewhere:
        notes.append(f"{formatting.plural(elsewhere, 'cell')} ran on another machine; their step times are left out.")
    return notes


def _told(ablation: Ablation, difference: PairedDifference) -> str:
    """`+0.0120 (95% interval +0.0080 to +0.0160)`."""
    interval = ablation.interval(difference)
    return ablation.signed(difference.mean) + (f" (95% interval {interval})" if interval else "")


def _basis(found: Sequence[tuple[OptionSetting, PairedDifference]]) -> str:
    counts = sorted({difference.pairs for _, difference in found})
    seeds = "one seed" if counts == [1] else f"paired over {formatting.listed([str(count) for count in counts])} seeds"
    return seeds if counts[-1] >= FEWEST_PAIRS else f"{seeds}: no interval"


def _compared(ablation: Ablation) -> list[tuple[OptionSetting, PairedDifference]]:
    return [(arm.setting, found) for arm in ablation.arms if arm.setting and (found := ablation.difference(arm))]


def _better(ablation: Ablation) -> list[Finding]:
    """What is better for having lost something: that is told before anything else."""
    found = [item for item in _compared(ablation) if item[0].only_off and item[1].below]
    found.sort(key=lambda item: item[1].mean)
    claims = [
        f"{ablation.title}: lower validation loss with {setting}, {_told(ablation, gap)}." for setting, gap in found
    ]
    return [Finding(claim, _basis([item])) for claim, item in zip(claims, found, strict=True)]


def _findings(ablation: Ablation) -> list[Finding]:
    if ablation.default is None or not ablation.default.losses:
        return [Finding("The plain setting has no result, so no setting is compared with it.")]
    compared = _compared(ablation)
    found = [*_lower(ablation, compared), *_terms(ablation, compared), *_others(ablation, compared)]
    lost = [f"{arm.setting} ({arm.failed})" for arm in ablation.arms if arm.failed and arm.done.empty]
    return [*found, Finding(f"No cell finished with {'; '.join(lost)}.")] if lost else found


def _lower(ablation: Ablation, compared: Sequence[tuple[OptionSetting, PairedDifference]]) -> list[Finding]:
    """Something was taken away, the mean fell, and no interval says that it means anything."""
    lower = [(setting, gap) for setting, gap in compared if setting.only_off and gap.mean < 0 and not gap.below]
    if not lower:
        return []
    known = all(gap.covers_zero for _, gap in lower)
    what = "Lower than plain, but not distinguishable" if known else "Lower than plain on average"
    told = [f"{setting} {_told(ablation, gap)}" for setting, gap in lower]
    return [Finding(f"{what}: {'; '.join(told)}.", _basis(lower))]


def _terms(ablation: Ablation, compared: Sequence[tuple[OptionSetting, PairedDifference]]) -> list[Finding]:
    """Which term costs most when it alone is taken away."""
    single = [(setting, gap) for setting, gap in compared if setting.only_off and len(setting.changes) == 1]
    if not single:
        return []
    single.sort(key=lambda item: -item[1].mean)
    names = [setting.off[0].replace("_", " ") for setting, _ in single]
    gaps = [_told(ablation, gap) for _, gap in single]
    told = [f"{name} {gap}" for name, gap in zip(names, gaps, strict=True)]
    if not any(gap.above for _, gap in single):
        known = any(gap.low is not None for _, gap in single)
        claim = "No term costs a distinguishable loss when it is taken away" if known else "Taken away one at a time"
        return [Finding(f"{claim}: {', '.join(told)}.", _basis(single))]
    if len(single) == 1:
        return [Finding(f"Taking away {names[0]} costs {gaps[0]}.", _basis(single))]
    noise = [name for name, (_, gap) in zip(names, single, strict=True) if gap.covers_zero]
    claim = f"Of the terms taken away one at a time, {names[0]} costs most, {gaps[0]}; then {', '.join(told[1:])}."
    return [Finding(claim + (f" Not distinguishable: {formatting.listed(noise)}." if noise else ""), _basis(single))]


def _others(ablation: Ablation, compared: Sequence[tuple[OptionSetting, PairedDifference]]) -> list[Finding]:
    """What is better than plain among all that is not a term taken away."""
    others = [(setting, gap) for setting, gap in compared if not setting.only_off and gap.low is not None]
    if not others:
        return []
    better = sorted((item for item in others if item[1].below), key=lambda item: item[1].mean)
    count = formatting.plural(len(others), "other setting")
    if not better:
        return [Finding(f"Of {count}, none is distinguishably better than plain.", _basis(others))]
    told = [f"{setting} {_told(ablation, gap)}" for setting, gap in better]
    return [Finding(f"Better than plain, of {count}: {', '.join(told)}.", _basis(better))]
