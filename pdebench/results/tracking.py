"""What a finished cell leaves, written again for an experiment tracker: its curve, its numbers, its samples.

    cells/<id>/tensorboard/     event files: `tensorboard --logdir runs/<suite>/cells`
    cells/<id>/wandb/           an offline run: `wandb sync runs/<suite>/cells/*/wandb/offline-run-*`

Written once, when the cell is done: the steps that are timed are not slowed, and a training that was cut off and taken
up again shows one unbroken curve. Nothing is sent anywhere. Importing this imports neither torch nor a tracker.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.errors import TrackerError
from pdebench.files import disk
from pdebench.files.picture import read_png, read_webp
from pdebench.installing import install

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

# What an earlier run of a cell left in a tracker's folder; whatever else lies there is not ours.
EARLIER = {"tensorboard": "events.out.tfevents.*", "wandb": "offline-run-*-{cell}"}
CURVES = ("train_loss", "val_loss", "lr", "grad_norm")


def check(trackers: Iterable[str]) -> None:
    """Look for the trackers' packages without importing them.

    Raises:
        TrackerError: one is not installed.
    """
    for tracker in trackers:
        try:
            version(tracker)
        except PackageNotFoundError:
            raise TrackerError(
                f"--track {tracker}: the package {tracker} is not installed; {install(tracker)}, "
                "or leave the option out"
            ) from None


def write(tracker: str, folder: Path, record: Mapping[str, Any]) -> None:
    """Write a done cell's curve, numbers and sample grid from its `folder`, in place of what an earlier run wrote.

    Raises:
        Exception: whatever the tracker raises; the cell's own files are not touched.
    """
    import pandas as pd

    for old in (folder / tracker).glob(EARLIER[tracker].format(cell=record["cell"])):
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    curve = pd.DataFrame(columns=["step", "seconds", *CURVES])
    with suppress(FileNotFoundError), disk.open_plain(folder / "curve.parquet") as file:
        curve = pd.read_parquet(file)
    WRITERS[tracker](folder, record, curve)


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """What was measured, without the configuration and without texts."""
    return {
        name: value
        for name, value in record.items()
        if "." not in name and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _samples(folder: Path) -> Image.Image | None:
    """The sheet of a cell's samples, of clips their first frames; None where there is none."""
    moving = read_webp(folder / "samples.webp")
    return moving[0] if moving else read_png(folder / "samples.png")


def _tensorboard(folder: Path, record: Mapping[str, Any], curve: pd.DataFrame) -> None:
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

    began = datetime.fromisoformat(record["started_at"]).timestamp()
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name in CURVES:
            for step, seconds, value in (
                curve[["step", "seconds", name]].fillna({"seconds": 0.0}).dropna().itertuples(index=False)
            ):
                writer.add_scalar(f"curve/{name}", value, int(step), walltime=began + seconds)
        last = int(curve["step"].max()) if len(curve) else 0
        for name, value in numbers(record).items():
            writer.add_scalar(f"record/{name}", value, last)
        config = "".join(f"    {name}: {value}\n" for name, value in record.items() if "." in name)
        writer.add_text("config", config, last)
        if (grid := _samples(folder)) is not None:
            writer.add_image("samples", np.asarray(grid), last, dataformats="HWC")


def _wandb(folder: Path, record: Mapping[str, Any], curve: pd.DataFrame) -> None:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    import numpy as np
    import wandb

    run = wandb.init(
        project=record["suite"],
        id=record["cell"],
        name=f"{record['model_name']} {record['cell']}",
        config={name: value for name, value in record.items() if "." in name},
        dir=folder,
        mode="offline",
        settings=wandb.Settings(console="off", disable_git=True, disable_code=True),
    )
    for row in curve.to_dict("records"):
        values = {f"curve/{name}": row[name] for name in CURVES if row[name] == row[name]}  # NaN: not evaluated then
        run.log(values, step=int(row["step"]))
    if (grid := _samples(folder)) is not None:
        run.log({"samples": wandb.Image(np.asarray(grid))})
    run.summary.update(numbers(record))
    run.finish()


WRITERS: dict[str, Callable[[Path, Mapping[str, Any], pd.DataFrame], None]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
