"""The state of an unfinished training, kept on disk so that a killed cell goes on where it was.

    state/00000120.pt    everything that step 121 depends on, and what was recorded up to step 120

Files are written whole or not at all, and the newest two are kept: should the machine die while one is written, the
one before it is still there. They are read with `weights_only`, so a file made to run code cannot.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pdebench.errors import CellWarning, Interrupted, ResultsError, out_of_memory, refused_by_system
from pdebench.store import replacing

KEPT = 2


@dataclass
class Snapshots:
    """Saves and finds the states of one cell.

    Attributes:
        folder: where they are kept; made when the first is saved.
        seconds: save when this long has passed since the last one.
        steps: also save after every so many steps; None: by time alone.
        source: digest of the code of another package's family, which a state is only gone on with by.
        conditions: what the steps of this process are timed under; the state keeps those of each of its steps.
        saved: when, by the monotonic clock.
    """

    folder: Path
    seconds: float = 300.0
    steps: int | None = None
    source: str | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    saved: float = field(default_factory=time.monotonic)
    training: bool = False
    ending: bool = False

    def end(self) -> None:
        """From a signal's handler: training saves its state after the step that runs, and ends.

        Raises:
            Interrupted: at once, where nothing is being trained; once, however often it is asked.
        """
        first, self.ending = not self.ending, True
        if first:
            self.insist()

    def insist(self) -> None:
        """End where that was asked for and went unheard: an exception that rises in a `__del__` is lost.

        Raises:
            Interrupted: it was, and nothing is being trained; training itself looks after each step.
        """
        if self.ending and not self.training:
            raise Interrupted("asked to end")

    def due(self, step: int) -> bool:
        """Whether a state is to be saved after `step` steps."""
        by_step = self.steps is not None and step % self.steps == 0
        return self.ending or by_step or time.monotonic() - self.saved >= self.seconds

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Keep `state`, of tensors and plain data, as that of `step`; forget all but the newest."""
        self.folder.mkdir(exist_ok=True)
        with replacing(
            self.folder / f"{step:08}.pt"
        ) as file:  # held nowhere whole: it would count as the model's memory
            _save({"step": step, "source": self.source, **state}, file)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The newest state that can be read, or None.

        Raises:
            ResultsError: the system does not hand one out: to start over would lose what is in it. Or the mixer's code
                is other code by now.
        """
        for path in self._files():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file raises anything; the one before it serves
                if out_of_memory(error):
                    raise
                if why := refused_by_system(error):
                    raise ResultsError(
                        f"cannot read {path}, the saved state of this cell: {why}; see to that, or delete the file "
                        "to go on from the one before it"
                    ) from None
                text = f"{path.name}, a saved state, cannot be read ({type(error).__name__}) and is passed over"
                warnings.warn(text, CellWarning, stacklevel=2)
                continue
            if isinstance(state, dict) and "step" in state:
                if state.get("source", self.source) != self.source:
                    raise ResultsError(
                        "the package of this cell's family changed since its training was interrupted: put it back to "
                        f"go on, or remove {self.folder} to start over"
                    )
                return state
        return None

    def clear(self) -> None:
        """Forget every state: the training is over."""
        for path in self._files():
            path.unlink(missing_ok=True)
        if self.folder.is_dir():
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """The states, newest first."""
        return sorted(self.folder.glob("[0-9]*.pt"), reverse=True)


class _Writes:
    """A file that remembers why it could not be written to: PyTorch makes an error of its own of that."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    """As `torch.save`; raises OSError where the file cannot be written."""
    writes = _Writes(file)
    try:
        torch.save(state, writes)  # type: ignore[arg-type]
    except RuntimeError:
        if writes.error is not None:
            raise writes.error from None
        raise
