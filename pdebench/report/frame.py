"""The results table made ready to draw: typed and named.

Everything here keeps one rule: what was not measured stays missing. It is never 0, never left out of a count.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pdebench.data.nouns import IMAGES, Noun, called
from pdebench.metrics.metric import Score
from pdebench.models.settings import OptionSetting, options_of, setting_of, shell_of
from pdebench.report.sets import set_names
from pdebench.results.record import declared_as
from pdebench.stats.cells import fill_in
from pdebench.suite.config import DEFAULT_TASK
from pdebench.tasks.registry import TASKS
from pdebench.tasks.scores import is_metric, scores_among
from pdebench.tasks.task import Task

SUBJECT = "PDE-SSM-DiT"
"""The family that this project is about: the report says first where it is behind."""

FLOOR = "None-DiT"
"""Mixes nothing: what a block costs in any case."""

FAMILIES = (
    SUBJECT,
    "DiT",
    "Mamba-DiT",
    "DiS",
    "ZigMa",
    "Mamba2-DiT",
    "DiG",
    "S4D-DiT",
    "GFNet-DiT",
    "AFNO-DiT",
    "vHeat-DiT",
    "Wave-DiT",
    "DiCo",
    "Linear-DiT",
    "SSM2D-DiT",
    "Hyena2D-DiT",
    FLOOR,
)
"""Fixes the colour and the shape of a family, whatever else is in the table."""

CONFIG_PREFIXES = ("data.", "model.", "train.", "evaluate.", "measure.")
SEED = "train.seed"
WHICH_SET = ("data.path", "data.content", "data.download")
"""Keys that say where a set came from; which one it is, its name says."""

DIMENSIONS = ("model.depth", "model.width", "model.heads", "model.mlp_hidden")
"""Resolved in every record, whether a suite gave them or they follow from the size, the options or a matched cost."""

SHELL = "shell"
"""Of the configuration in words: all keys of a shell."""

REVISION = "model.revision"
"""Of the family: rows of two revisions are runs of two things. Only where some row says which it is of."""

SOURCE = "model.source"
"""Digest of another package's code: rows of two are runs of two things. Only where some row has one."""

FRAMES = "data.frames"
"""Of a clip; images have none."""

CLIP = (FRAMES, "data.frame_stride", "model.patch_frames")
"""Keys of clips that change what is learned and how many tokens it is cut into; a table of images may have none."""

TEXT = (
    "folder",
    "suite",
    "task",
    "cell",
    "status",
    "message",
    "started_at",
    "finished_at",
    "data.name",
    "data.path",
    "data.content",
    "data_checksum",
    "warnings",
    "sampled_from",
    "shell.preset",
    "model.family",
    "model.size",
    "model_name",
    "macs_uncounted",
    "mixer_implementation",
    "peak_memory_kind",
    "metric_reference",
    "metric_reference_statistics",
    "metric_resize",
    "metric_extractor",
    "metric_weights_sha256",
    "metric_source",
    "machine_fingerprint",
    "device",
    "cpu",
    "precision_used",
    "allocator",
    "torch_version",
    "python_version",
    "pdebench_version",
    "git_commit",
    "platform",
)
NUMBERS = (
    "data.resolution",
    "model.patch",
    *DIMENSIONS,
    "train.steps",
    "train.batch_size",
    "train.lr",
    SEED,
    "seconds_total",
    "params",
    "tokens",
    "macs_forward",
    "flops_train_step",
    "flops_train",
    "images_seen",
    "train_loss",
    "val_loss",
    "val_loss_ema",
    "val_loss_transfer",
    "train_seconds",
    "train_step_ms_median",
    "train_step_ms_q1",
    "train_step_ms_q3",
    "train_step_ms_n",
    "train_images_per_s",
    "sample_images_per_s",
    "sample_images_per_s_q1",
    "sample_images_per_s_q3",
    "sample_images_per_s_n",
    "classify_images_per_s",
    "classify_images_per_s_q1",
    "classify_images_per_s_q3",
    "classify_images_per_s_n",
    "mixer_ms_median",
    "mixer_ms_q1",
    "mixer_ms_q3",
    "mixer_ms_n",
    "mixer_images_per_s",
    "mixer_held_bytes",
    "block_ms_median",
    "block_ms_q1",
    "block_ms_q3",
    "block_ms_n",
    "block_images_per_s",
    "block_held_bytes",
    "peak_memory_bytes",
    "metric_samples",
    "metric_reference_count",
    "threads",
    "memory_bytes",
)

EFFICIENCY = ("train_mfu", "sample_mfu", "classify_mfu", "train_joules_per_image", "sample_joules_per_image")
"""Numbers too, where a table has them: records of before, and of other machines, do not."""

RATES = {
    "train_images_per_s": "train_step_ms",
    "mixer_images_per_s": "mixer_ms",
    "block_images_per_s": "block_ms",
}
"""Rates by the duration that they are the batch over."""


def noun_of(table: pd.DataFrame) -> Noun:
    """What the samples are called that the models of a table see."""
    return called(table[FRAMES]) if FRAMES in table else IMAGES


def make_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy of the results table with every column the report asks for, numbers as floats, in a fixed order.

    A missing column becomes a column of missing values; text or an infinity in a numeric column becomes
    missing. Adds `_q1`, `_q3` and `_n` of each rate (from its duration); `setting`, the words
    that tell a family's runs at one resolution apart (empty where nothing but the seed differs); `folder`, empty where
    all is of one; and `repeat`, whether a finished cell is one that another folder has finished too, and had first.
    """
    table = frame.reset_index(drop=True).copy()
    typed: dict[str, pd.Series] = {}  # put in at once: a column at a time lies in as many pieces
    for column in TEXT:
        text = table[column] if column in table else pd.Series(None, index=table.index, dtype=object)
        typed[column] = text.astype(object).where(text.notna(), None)
    known = [*NUMBERS, *(name for name in EFFICIENCY if name in table)]
    for column in [*known, *(column for score in scores_in(table) for column in score.columns)]:
        values = table[column] if column in table else pd.Series(np.nan, index=table.index)
        typed[column] = pd.to_numeric(values, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    known_before = [str(name) for name in table if name in typed]
    order = list(dict.fromkeys([*map(str, table), *typed]))
    table = pd.concat([table.drop(columns=known_before), pd.DataFrame(typed, index=table.index)], axis=1)[order].copy()
    if "metric_small_sample" not in table:
        table["metric_small_sample"] = None
    for rate, duration in RATES.items():
        for quartile, other in (("q1", "q3"), ("q3", "q1")):  # the slow quartile of a step is the low one of a rate
            table[f"{rate}_{quartile}"] = table[rate] * table[f"{duration}_median"] / table[f"{duration}_{other}"]
        table[f"{rate}_n"] = table[f"{duration}_n"]
    for part in ("mixer", "block"):  # of a batch, and batches differ
        table[f"{part}_held_bytes_an_image"] = table[f"{part}_held_bytes"] / table["train.batch_size"]
    _fill_in(table)
    table["model.family"] = table["model.family"].fillna("unknown")
    table["task"] = table["task"].fillna(DEFAULT_TASK)
    table["data.name"] = set_names(table)
    if table["task"].nunique() > 1:  # what two tasks found has nothing in common: it is of other data, wherever it goes
        table["data.name"] = table["data.name"] + " (" + table["task"] + ")"
    table["folder"] = table["folder"].fillna("")
    table["repeat"] = _repeats(table)
    table["setting"] = settings(table)
    table["trained"] = settings(table, but="evaluate.")
    rank = {name: place for place, name in enumerate(family_order(table))}
    table["_rank"] = table["model.family"].map(rank)
    keys = ["data.name", "data.resolution", "_rank", "model.size", "train.steps", "setting", SEED, "cell"]
    return table.sort_values(keys, kind="stable", na_position="last").drop(columns="_rank").reset_index(drop=True)


def _fill_in(table: pd.DataFrame) -> None:
    """What a record of before leaves open: the value of a key that came later, and what `auto` came to."""
    fill_in(table)
    if "train.precision" in table:
        used = table["precision_used"]
        table["train.precision"] = used.where(used.notna(), table["train.precision"].astype(object))
    if {"sample_nfe_mean", "evaluate.nfe", "evaluate.samples"} <= set(table):
        drawn = pd.to_numeric(table["evaluate.samples"], errors="coerce") > 0
        asked = pd.to_numeric(table["evaluate.nfe"], errors="coerce").where(drawn & (table["status"] == "done"))
        table["sample_nfe_mean"] = pd.to_numeric(table["sample_nfe_mean"], errors="coerce").fillna(asked)
    if "family_revision" in table:
        table[REVISION] = table["family_revision"].astype(object).where(table["family_revision"].notna(), 1)
    if "family_source" in table and table["family_source"].notna().any():
        table[SOURCE] = table["family_source"]


def _repeats(table: pd.DataFrame) -> pd.Series:
    """Whether a row is a finished cell that an earlier row of another folder is too: the same run, done twice.

    The same on another machine, in another arithmetic or of other images is another run.
    """
    done = table["status"] == "done"
    run = [table[name].fillna("") for name in ("cell", "machine_fingerprint", "precision_used", "data_checksum")]
    first = table["folder"].where(done).groupby(run).transform("first")
    return done & first.notna() & (table["folder"] != first)


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose cell ran to its end, each cell once."""
    return table[(table["status"] == "done") & ~table["repeat"]]


def timed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose cell ran to its end, each cell once a machine: what it costs may be asked of each."""
    done = table[table["status"] == "done"]
    return done[~(done["repeat"] & done.duplicated(["cell", "machine_fingerprint"]))]


def tasks_in(table: pd.DataFrame) -> list[Task]:
    """The tasks of the table that are to be had, in the order of the registry."""
    present = set(table["task"].dropna())
    return [
        task
        for name in dict.fromkeys([*TASKS.built_in, *sorted(present)])
        if name in present and (task := TASKS.get(name))
    ]


def representatives(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, in the table's order: of every setting the lowest seeds, spread evenly over settings.

    They are chosen by what they are, never by how well they did.
    """
    if len(table) <= most:
        return table
    setting = [table[name].fillna("") for name in ("data.name", "data.resolution", "model.family", "setting")]
    place = table.groupby(setting, sort=False).cumcount()
    by_seed = table.assign(_place=place).sort_values("_place", kind="stable").index
    whole = int((place <= (place.value_counts().sort_index().cumsum() <= most).sum() - 1).sum())
    rest = by_seed[whole:]
    spread = rest[np.linspace(0, len(rest) - 1, most - whole).round().astype(int)] if most > whole else rest[:0]
    return table.loc[sorted([*by_seed[:whole], *spread.unique()])]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by column name."""
    names = [str(name) for name in table]
    # what `to_dict` makes of it row by row, in a fraction of the time
    columns = [[None if value is pd.NA else value for value in values.tolist()] for _, values in table.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def family_order(table: pd.DataFrame) -> list[str]:
    """Every built-in family, then the others of the table, by name."""
    present = set(table["model.family"].dropna())
    return [*FAMILIES, *sorted(present - set(FAMILIES))]


def families_in(table: pd.DataFrame) -> list[str]:
    """The families of the table in the order of the palette."""
    present = set(table["model.family"].dropna())
    return [family for family in family_order(table) if family in present]


def of_samples(column: str) -> bool:
    """Whether a column was measured on samples, or while they were drawn: how cells were evaluated is part of it."""
    declared = declared_as(column)
    return is_metric(column) or (declared is not None and declared.evaluated)


def scores_in(table: pd.DataFrame, kind: str | None = None) -> list[Score]:
    """The scores of samples that a table has columns for, or those of a kind, in the order in which they are told."""
    return [score for score in scores_among(map(str, table)) if kind in (None, score.kind)]


def measured(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those of the columns that hold a number in at least one row."""
    return [column for column in columns if column in table and table[column].notna().any()]


def settings(table: pd.DataFrame, but: str = " ") -> pd.Series:
    """For each row, what varies within its family at its resolution: `lr 0.001, size S, no convection`.

    Keys that begin with `but` are left out. The family's own options are told by what differs from their defaults,
    `plain` where nothing does. The resolved dimensions are told only where the rest does not say them.
    """
    if table.empty:
        return pd.Series([], index=table.index, dtype=object)
    plain = plain_config(table)
    families = table["model.family"]
    groups = [table["data.name"].fillna(""), table["data.resolution"].fillna(-1), families]
    hidden = {SEED, "model.family", "data.resolution", "data.name", *WHICH_SET, "train.init_content"}
    told: dict[str, pd.Series] = {}
    for name in sorted(map(str, plain), key=lambda name: name in DIMENSIONS):
        beside = [plain[other] for other in told] if name in DIMENSIONS else []
        varies = plain[name].groupby([*groups, *beside]).transform("nunique") > 1
        if varies.any() and name not in hidden and not name.startswith(but):
            own = [f for f in families.unique() if name in (f"model.{option.name}" for option in options_of(f))]
            said = varies & (plain[name] != "") & ~families.isin(own)
            told[name] = plain[name].map(lambda value, name=name: named(name, value)).where(said, "")
    chosen = pd.Series([str(one) for one in settings_of(table)], index=table.index)
    told["options"] = chosen.where(chosen.groupby(groups).transform("nunique") > 1, "")
    return pd.DataFrame(told).apply(lambda row: ", ".join(filter(None, row)), axis=1).astype(object)


def settings_of(table: pd.DataFrame) -> list[OptionSetting]:
    """The setting of each row's family."""
    options = {f"model.{option.name}" for family in table["model.family"].unique() for option in options_of(family)}
    rows = table[["model.family", *(str(name) for name in table if name in options)]]
    return [setting_of(row["model.family"], row) for row in records(rows)]


def plain_config(table: pd.DataFrame) -> pd.DataFrame:
    """The configuration of each row as text, empty where a key has no value; of the shell's keys one in words."""
    names = [str(name) for name in table if str(name).startswith(CONFIG_PREFIXES)]
    texts = {name: plain_values(table[name]) for name in names}
    keys = [str(name) for name in table if str(name).startswith("shell.")]
    if keys:
        rows = records(table[["model.family", *keys]])
        texts[SHELL] = pd.Series([shell_of(str(row["model.family"]), row) for row in rows], table.index, dtype=object)
    return pd.DataFrame(texts, index=table.index)


def plain_values(values: pd.Series) -> pd.Series:
    """Values of the configuration as texts: see `plain_value`. Most are one of a few."""
    known: dict[tuple[type, Hashable], str] = {}
    texts = []
    for value in values.tolist():
        key: tuple[type, Hashable] = (type(value), value)
        try:
            text = known.get(key)
        except TypeError:  # a list
            text = known.get(key := (type(value), str(value)))
        if text is None:
            text = known[key] = plain_value(value)
        texts.append(text)
    return pd.Series(texts, index=values.index, dtype=object)


def named(column: str, value: str) -> str:
    """`train.batch_size` and 32 as `batch size 32`."""
    if column == SHELL:
        return value
    if column == "shell.preset":
        return f"{value} shell"
    return f"{column.split('.', 1)[1].replace('_', ' ')} {value}"


def plain_value(value: Any) -> str:
    """A value of the configuration as text, empty where there is none."""
    if isinstance(value, list | tuple | dict | np.ndarray):
        return json.dumps(value, default=list)
    if value is None or pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
