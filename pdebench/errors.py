"""Every error that pdebench raises on purpose, in one tree.

PdebenchError                what went wrong, where, and what to do, in one sentence; `exit_code` is the CLI's
 +- SuiteError               a suite, or an override of it, that cannot be run         (exit code 2)
 +- DataError                images that are missing, damaged or of the wrong kind     (exit code 2)
 +- ModelError               a backbone that cannot be built as asked                  (exit code 2)
 |   +- DimensionError       a depth, width, number of heads or MLP that does not fit
 |   +- SamplingError        options of sampling that do not go together
 +- MetricError              a metric whose extractor or weights are not to be had     (exit code 2)
 +- ResultsError             a results folder that cannot be read or written           (exit code 2)
 +- TableError               a table that laws cannot be fitted to                    (exit code 2)
 |   +- InsufficientData     too few runs, sizes or budgets, or compute of too small a range
 +- SlotError                more workers or devices than the machine has              (exit code 2)
 +- TrackerError             an experiment tracker that is not installed               (exit code 2)
 +- SchedulerError           SLURM is not here, refuses or does not answer            (exit code 2)
 +- CalibrationError         this machine's speed cannot be probed                    (exit code 2)
 +- AnchorError              a published result that is not kept here, or not written as one  (exit code 2)
 +- RevisionError            a revision that cannot be had, or work that has no name   (exit code 2)
 +- NotComparable            two sides that have nothing to be compared in            (exit code 3)
 +- Diverged                 a loss that is no longer finite; ends a cell, not a sweep

Interrupted                  a cell that was asked to end: no error, and nothing that catches errors catches it
CellWarning                  what a reader of a cell's numbers has to know; its record keeps it
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import unicodedata
from collections.abc import Iterable


class PdebenchError(Exception):
    """Base of all errors that are shown as one sentence, without a traceback."""

    exit_code = 2


FOREIGN = (Exception, SystemExit)
"""What importing another package's module may raise: anything, and a script that is no module ends the process."""


LONGEST_KEY = 120  # characters of a key in a message


class SuiteError(PdebenchError):
    """A suite file, a key in it or an override on the command line is wrong.

    Rendered as `file:line: key: what is wrong; what to do`, leaving out what is not known. `others` are what else is
    wrong with the same suite, in the order of its file.
    """

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None, key: str | None = None):
        self.message, self.file, self.line, self.key = message, file, line, key
        self.others: tuple[SuiteError, ...] = ()
        if key and len(key) > LONGEST_KEY:  # of a file that somebody else made
            key = f"{key[:LONGEST_KEY]}…"
        place = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(f"{place}{key}: {message}" if key else f"{place}{message}")


class DataError(PdebenchError):
    """A data set is not installed, fails its checksum, or cannot serve the resolution asked for."""


class ModelError(PdebenchError):
    """A model name, size or option is unknown or does not fit the grid of tokens."""


class DimensionError(ModelError):
    """A dimension does not fit the family or the other dimensions; `key` is the one to blame."""

    def __init__(self, key: str, message: str):
        self.key = key
        super().__init__(message)


class SamplingError(ModelError, ValueError):
    """An option of sampling does not go with the others; `key` is the one to blame, `shared` another that may be."""

    def __init__(self, key: str, message: str, *shared: str):
        self.key, self.shared = key, shared
        super().__init__(message)


class MetricError(PdebenchError):
    """A metric cannot be computed here; said before training, with what to install or pass."""


class ResultsError(PdebenchError):
    """A results folder is missing, in use by another run, or not writable."""


class TableError(PdebenchError):
    """A table to fit laws to cannot be read, or lacks a column."""


class InsufficientData(TableError):
    """A table holds too little for a fit that means something: runs, sizes, budgets, or the range of its compute."""

    def __init__(self, why: str):
        super().__init__(f"insufficient data: {why}")


class SlotError(PdebenchError):
    """More workers or devices are asked for than this machine has."""


class TrackerError(PdebenchError):
    """An experiment tracker is asked for whose package is not installed."""


class SchedulerError(PdebenchError):
    """SLURM's commands are not here, refuse what is asked, or do not answer."""


class CalibrationError(PdebenchError):
    """This machine's speed cannot be probed."""


class AnchorError(PdebenchError):
    """A published result is asked for that is not kept, or a file of them is not written as one."""


class RevisionError(PdebenchError):
    """A git revision is not there, does not run, or what is to be measured is not a commit."""


class NotComparable(PdebenchError):
    """What was measured before cannot be compared with what can be measured now; neither a pass nor a regression."""

    exit_code = 3


class Diverged(PdebenchError):
    """The training loss became NaN or infinite."""


class Interrupted(BaseException):
    """A cell was asked to end, and has saved its state; ends a cell, not a sweep.

    As a KeyboardInterrupt it may rise anywhere, and is no Exception: who takes any error of a decoder or of a cache for
    damage is not to take a stop for it.
    """


class CellWarning(UserWarning):
    """What a reader of a cell's numbers has to know: kept in its record, shown on the terminal and in the report."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch has a type for a GPU's; it and what loads libraries have words for a host's."""
    name, text = type(error).__name__, str(error)
    refused = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if refused or name == "OutOfMemoryError" or lacks_memory(text):
        return True
    before = error.__cause__ or error.__context__  # a package says in its own words that it cannot be imported
    return isinstance(error, ImportError) and before is not None and out_of_memory(before)


def lacks_memory(text: str) -> bool:
    """Whether what a library or a log says means that memory ran out."""
    words = ("can't allocate memory", "cannot allocate memory", "std::bad_alloc", "memoryerror")
    if any(word in text.lower().replace("cannot allocate memory in static tls", "") for word in words):
        return True
    # without a reason; where files may not be run, the reason is given
    return re.search(r"failed to map segment from shared object\s*(?:$|[\n)])", text) is not None


def refused_by_system(error: BaseException) -> str | None:
    """What the system says of a file that it does not hand out, such as "Permission denied"; None: the file was read.

    Whatever is in such a file, it is not damaged, and nobody is to be told to delete it.
    """
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else None


def printable(text: str) -> str:
    r"""Text from a file as a terminal may be sent it: what would move its cursor, colour it or turn it is written out.

    A name with an escape sequence in it shows as `\x1b[31m`; line ends stay.
    """
    if text.isascii() and text.isprintable():  # nearly all of them
        return text
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        ascii(char)[1:-1] if char != "\n" and unicodedata.category(char) in hidden else char for char in text
    )


_LISTED, _SHOWN = 40, 60  # names that a sentence lists, and characters of each
_NEAR = 0.65  # likeness of a word that is meant; of `split` and `shift` it is .6
_SHORTEST = 3  # letters of a word that may be cut short


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is meant by one that is misspelt, or cut short; None where none is near.

    Upper and lower case are alike. What two names have in common, such as the `-DiT` that families end with, brings
    them no nearer: only their other parts are held against each other. A known word is near, too, that the word begins,
    or of which it leaves parts out: `flops` is near `train_flops`.
    """
    asked, options = _Spelt(str(word)), [_Spelt(option) for option in sorted(known)]
    if same := [option for option in options if option.plain == asked.plain]:
        return same[0].word
    if longer := [option.word for option in options if asked.shortens(option)]:
        return min(longer, key=len)
    near = max(options, key=asked.likeness, default=None)
    return near.word if near is not None and asked.likeness(near) >= (_NEAR, False) else None


class _Spelt:
    """A word as it is held against others: in lower case, and its parts between `-`, `_`, dots and the like."""

    def __init__(self, word: str):
        self.word, self.plain = word, word.lower()
        self.parts = [part for part in re.split(r"[\W_]+", self.plain) if part]

    def likeness(self, other: _Spelt) -> tuple[float, bool]:
        """Of what they do not share at either end: as difflib measures it, 0 to 1; whether the letters are the same."""
        mine, theirs = list(self.parts), list(other.parts)
        for end in (0, -1):
            while mine and theirs and mine[end] == theirs[end]:
                mine.pop(end)
                theirs.pop(end)
        one, two = "".join(mine), "".join(theirs)
        return difflib.SequenceMatcher(None, one, two).ratio(), sorted(one) == sorted(two)

    def shortens(self, other: _Spelt) -> bool:
        """Whether the other is this with more of it, or this the other with more behind it, as `DiT-XL` of `DiT`."""
        if not self.parts or not other.parts:
            return False
        rest = iter(other.parts)
        if all(part in rest for part in self.parts) or self.parts[: len(other.parts)] == other.parts:
            return True
        return len(self.plain) >= _SHORTEST and other.plain.startswith(self.plain)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A clause that names the nearest known word, or lists the known ones when none is near."""
    options = sorted(known)
    if (near := nearest(word, options)) is not None:
        return f"did you mean '{near[:_SHOWN]}'?"
    shown = [option[:_SHOWN] for option in options[:_LISTED]] + ["..."] * (len(options) > _LISTED)
    return f"known: {', '.join(shown)}" if options else "none are known here"
