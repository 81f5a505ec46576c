"""What the system refuses is told as that: nobody is told that a file is damaged, or to delete it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pdebench.data.labels import read_labels
from pdebench.errors import PdebenchError
from pdebench.regress import baseline, history
from pdebench.run.checkpoint import read_checkpoint
from pdebench.stats.source import read_table

READERS: dict[str, Callable[[Path], object]] = {
    "baselines.json": lambda path: baseline.load(path, "any"),
    "history.jsonl": history.read,
    "dataset.json": read_labels,
    "checkpoint.safetensors": read_checkpoint,
    "table.csv": lambda path: read_table(path),
    "table.parquet": lambda path: read_table(path),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_the_system_does_not_hand_out_is_not_called_damaged(name: str, tmp_path: Path) -> None:
    """A link to itself, which nobody can read, the administrator included.

    What lies in a results folder is not read through a link in the first place.
    """
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path.name)
    with pytest.raises(PdebenchError, match="Too many levels of symbolic links") as raised:
        READERS[name](path)
    assert "delete the file to run" not in str(raised.value)
    assert " is not " not in str(raised.value)
    assert " is no " not in str(raised.value)
