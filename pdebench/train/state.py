"""The state of an unfinished training, kept on disk so that a killed cell goes on where it was.

    state/00000120.pt    everything that step 121 depends on, and what was recorded up to step 120

Files are written whole or not at all, and the newest two are kept: should the machine die while one is written, the
one before it is still there. Each says what it belongs to, and has checksums of itself (`state_file.py`): no other
training goes on from it, and what became of it on disk is noticed. Nothing in it can run code.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdebench.errors import CellWarning, Interrupted, ResultsError, out_of_memory, printable, refused_by_system
from pdebench.files import state_file
from pdebench.files.disk import NotPlain, open_plain
from pdebench.results.store import replacing
from pdebench.suite.identity import NEUTRAL

KEPT = 2
_BEFORE = {f"train.{key}": value for key, value in NEUTRAL["train"].items()}  # of states without a key that came later


@dataclass
class Snapshots:
    """Saves and finds the states of one cell.

    Attributes:
        folder: where they are kept; made when the first is saved.
        seconds: save when this long has passed since the last one.
        steps: also save after every so many steps; None: by time alone.
        cell: the identity of the cell, which a state is only gone on with by.
        source: digest of the code of another package's family, likewise.
        trained: what else it has to have in common with the training that saved the state; `train` fills it.
        conditions: what the steps of this process are timed under; the state keeps those of each of its steps.
        check: called before a state is saved; does not come back where the cell is another's by now.
        saved: when, by the monotonic clock.
    """

    folder: Path
    seconds: float = 300.0
    steps: int | None = None
    cell: str | None = None
    source: str | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None
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
        self.check()
        self.folder.mkdir(exist_ok=True)
        # held nowhere whole: it would count as the model's memory
        with replacing(self.folder / f"{step:08}.pt") as file:
            state_file.save({"step": step, "belongs": self._belongs(), **state}, file)
        # those of later steps were passed over, and stay until they are reached or the training is over
        for old in [path for path in self._files() if int(path.stem) <= step][KEPT:]:
            old.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole, or None; of each that is not, and of beginning anew for that, it warns.

        Raises:
            ResultsError: the newest whole state belongs to something else, a link or no plain file is there, or the
                system does not hand one out: to start over would lose what is in it.
        """
        if self.folder.is_symlink():
            raise ResultsError(f"{self.folder}, for the saved states of this cell, is a link: remove it")
        files = self._files()
        for path in files:
            try:
                with open_plain(path) as file:
                    state = state_file.load(file)
                if not isinstance(state, dict) or state.get("step") != int(path.stem):
                    raise ValueError("it is of another step than its name says")
            except NotPlain as error:
                raise ResultsError(f"cannot read {path}, the saved state of this cell: {error}; remove it") from None
            except state_file.OtherFormat:
                self._pass_over(path, "is of another version of pdebench, so nobody can tell what it belongs to")
            except Exception as error:  # a damaged file raises anything; the one before it serves
                if out_of_memory(error):
                    raise
                if why := refused_by_system(error):
                    raise ResultsError(
                        f"cannot read {path}, the saved state of this cell: {why}; see to that, or delete the file "
                        "to go on from the one before it"
                    ) from None
                text = str(error).strip().partition("\n")[0]
                self._pass_over(path, f"cannot be read ({type(error).__name__}: {printable(text)[:100]})")
            else:
                self._refuse_foreign(path, state.get("belongs"))
                return state
        if files:
            warnings.warn("no saved state is left to go on from: the training began anew", CellWarning, stacklevel=2)
        return None

    def _pass_over(self, path: Path, why: str) -> None:
        text = f"{path.name}, a saved state, {why} and is passed over"
        warnings.warn(text, CellWarning, stacklevel=3)

    def _belongs(self) -> dict[str, Any]:
        return {"cell": self.cell, "source": self.source, **self.trained}

    def _refuse_foreign(self, path: Path, theirs: Any) -> None:
        """Raise ResultsError where a state belongs to something else."""
        if not isinstance(theirs, Mapping):
            theirs = {}
        for name, ours in self._belongs().items():
            if (their := theirs.get(name, _BEFORE.get(name))) == ours:
                continue
            if name == "source":
                raise ResultsError(
                    "the package of this cell's family changed since its training was interrupted: put it back to "
                    f"go on, or remove {self.folder} to start over"
                )
            raise ResultsError(
                f"{path} is a saved state of another training: its {name} is {_short(their)}, not {_short(ours)}; put "
                f"back what belongs there to go on, or remove {self.folder} to start over"
            )

    def clear(self) -> None:
        """Forget every state: the training is over."""
        for path in self._files():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):  # what else is there is not ours
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        """The states, newest first."""
        named = (path for path in self.folder.glob("*.pt") if re.fullmatch("[0-9]{1,18}", path.stem))
        return sorted(named, key=lambda path: int(path.stem), reverse=True)


def _short(value: Any) -> str:
    return printable(str(value)[:80])
