"""What else differs between things that are compared, beside what the comparison is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pdebench.models.shell_options import PLAIN
from pdebench.report import formatting
from pdebench.report.frame import SEED, named, plain_values
from pdebench.suite.identity import NEUTRAL

LEARNT = (
    "data.flip",
    "data.frames",
    "data.frame_stride",
    "model.size",
    "model.patch",
    "model.patch_frames",
    *(f"shell.{key}" for key in PLAIN),
    "train.",
    "device",
)
"""What a loss depends on; `train.` is every key of the section but the seed, and a device draws noise of its own."""

DRAWN = (
    "evaluate.sampler",
    "evaluate.nfe",
    "evaluate.tolerance",
    "evaluate.diffusion",
    "evaluate.time_shift",
    "evaluate.guidance",
    "evaluate.guidance_channels",
    "evaluate.guidance_interval",
)
"""How samples are drawn."""

SPENT = "sample_nfe_mean"
"""What samples took, where the sampler chose: rankings are of equal evaluations."""

SAMPLED = (
    *DRAWN,
    "evaluate.resolution",
    "evaluate.frames",
    "data.frames",
    "data.frame_stride",
    "metric_samples",
    "metric_reference_count",
    "metric_reference_statistics",
    "metric_resize",
    "metric_weights_sha256",
    "metric_source",
)
"""What must be the same of samples whose scores are compared."""

STEP = (
    "train.batch_size",
    "train.precision",
    "train.compile",
    "train.devices",
    "train.nodes",
    "train.shard",
    "train.accumulate",
    "machine_fingerprint",
)
"""What must be the same of training steps whose time or memory is compared."""

EVALUATION = (
    *DRAWN,
    "evaluate.resolution",
    "evaluate.frames",
    "evaluate.batch_size",
    "train.precision",
    "train.compile",
    "train.devices",
    "train.nodes",
    "train.shard",
    "sampled_from",
    "machine_fingerprint",
)
"""What must be the same of samples whose time is compared."""


@dataclass(frozen=True)
class ColumnDifference:
    """A column in which things differ, and the value of each; several where its own rows differ."""

    column: str
    values: Mapping[str, str]

    @property
    def name(self) -> str:
        """`nfe`, `batch size`."""
        return _FIELDS.get(self.column, self.column.rpartition(".")[2].replace("_", " "))

    def __str__(self) -> str:
        """`nfe (DiT 2, PDE-SSM-DiT 50)`; what most have is said once."""
        by_value: dict[str, list[str]] = {}
        for who, value in self.values.items():
            by_value.setdefault(value, []).append(who)
        most = max(by_value, key=lambda value: len(by_value[value]))
        told = [f"{formatting.listed(who)} {value}" for value, who in by_value.items() if value != most]
        rest = "others" if len(by_value[most]) > 1 else by_value[most][0]
        return f"{self.name} ({', '.join([*told, f'{rest} {most}'])})"


_FIELDS = {
    "machine_fingerprint": "machine",
    "metric_samples": "the sample counts",
    "metric_reference_count": "the reference counts",
    "metric_reference_statistics": "the reference statistics",
    "metric_source": "the code of the metrics",
    "sampled_from": "the weights that are sampled",
    SPENT: "the evaluations that samples took",
}


def differences(things: Mapping[str, pd.DataFrame], columns: Sequence[str]) -> list[ColumnDifference]:
    """Where the rows of some things differ, in columns named in full or by how they begin (`train.`)."""
    present = dict.fromkeys(str(name) for rows in things.values() for name in rows)
    chosen = [name for name in present if name != SEED and any(_is(name, column) for column in columns)]
    found = []
    for column in chosen:
        values = {who: _values(rows, column) for who, rows in things.items()}
        if len(set(values.values())) > 1:
            found.append(ColumnDifference(column, {who: value or _absent(column) for who, value in values.items()}))
    return found


def _absent(column: str) -> str:
    """What a missing value of a column says."""
    if column == "evaluate.nfe":
        return "adaptive"  # every record has it but those of a sampler that chooses
    section, _, key = column.partition(".")
    return "none" if NEUTRAL.get(section, {}).get(key, "unknown") is None else "unknown"


def _is(name: str, column: str) -> bool:
    return name.startswith(column) if column.endswith(".") else name == column


def _values(rows: pd.DataFrame, column: str) -> str:
    if column not in rows:
        return ""
    texts = sorted({text for text in plain_values(rows[column]) if text}, key=lambda text: (len(text), text))
    return formatting.listed([text[:12] if column.endswith(("sha256", "fingerprint")) else text for text in texts])


def beside(found: Sequence[ColumnDifference], who: str) -> str:
    """What one of the things has where they differ: `nfe 2, lr 0.004`."""
    return ", ".join(
        named(one.column, one.values[who]) if "." in one.column else f"{one.name} {one.values[who]}" for one in found
    )
