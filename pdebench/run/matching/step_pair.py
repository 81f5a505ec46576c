"""Two trainings side by side in fresh processes, one of which works at a time: reference and candidate, A B B A.

What the machine does to one it does to the other a moment later, and in either order. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from pdebench.errors import ModelError, ResultsError
from pdebench.measure.largest_batch import FULL
from pdebench.measure.train_steps import StepWork
from pdebench.system.descendants import with_its_parent

BURST = 0.4  # seconds that one of the two works before the other does, about
MOST_SAMPLES = 100  # of a burst
BLOCKS = 4  # A B B A, of each pair


class DoesNotFit(Exception):
    """A process ran out of memory."""


class StepProcess:
    """A process of `measure/train_steps.py`."""

    def __init__(self, work: StepWork, environment: Mapping[str, str], until: float) -> None:
        self._until = until
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        command = [sys.executable, "-m", "pdebench.measure.train_steps", json.dumps(asdict(work))]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, preexec_fn=with_its_parent(),
        )  # fmt: skip
        self._text = b""
        self.name = work.name

    def ready(self) -> dict[str, Any]:
        """What it says once it is warm: seconds, peak bytes and machine."""
        return self._answer()

    def burst(self, samples: int) -> list[float]:
        """Seconds of a step, so often; the first, which finds the caches cold, is left out."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it is gone is in its log
            self._process.stdin.write(f"{samples + 1}\n".encode())
            self._process.stdin.flush()
        seconds: list[float] = self._answer()["seconds"]
        return seconds[1:]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._text:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise ModelError(f"{self.name} did not come through its first steps in the time of match.seconds")
            if not (chunk := os.read(self._process.stdout.fileno(), 65536)):
                self._fail(self._process.wait())
            self._text += chunk
        line, self._text = self._text.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _fail(self, code: int) -> None:
        self._log.seek(0)
        said = self._log.read().strip().splitlines()
        last = said[-1] if said else f"status {code}"
        if code == FULL or "bad_alloc" in last:
            raise DoesNotFit
        raise ModelError(f"a training step of {self.name} cannot be measured: {last}")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


class StepPairs:
    """Pairs of one reference and one candidate.

    Args:
        reference, candidate: what to train.
        environment: variables that the processes start with.
        until: when, by the monotonic clock, a process that has not come through its steps is given up.
    """

    def __init__(self, reference: StepWork, candidate: StepWork, environment: Mapping[str, str], until: float) -> None:
        self._works, self._environment, self._until = (reference, candidate), environment, until
        self._together = True
        self.machine: dict[str, Any] = {}

    def time_ratio(self) -> float:
        """The candidate's time of a step over the reference's, of one pair of fresh processes."""
        if self._together:
            try:
                with ExitStack() as stack:
                    both = [stack.enter_context(self._process(side)) for side in (0, 1)]
                    return self._blocks(both)
            except DoesNotFit:  # both at a time: then one at a time
                self._together = False
        return self._in_turn()

    def memory_ratio(self) -> float:
        """The same of peak memory.

        Raises:
            ModelError: this system does not tell a process' peak.
        """
        peaks = [self._alone(side)[1]["peak"] for side in (0, 1)]
        if None in peaks:
            raise ModelError("match by peak_memory: this system does not tell the peak memory of a process")
        return float(peaks[1] / peaks[0])

    def _blocks(self, both: list[StepProcess]) -> float:
        warm = [process.ready() for process in both]
        self.machine = warm[0]["machine"]
        counts = [_samples(one["seconds"][-1]) for one in warm]
        found = []
        for _ in range(BLOCKS):
            seconds: tuple[list[float], list[float]] = ([], [])
            for side in (0, 1, 1, 0):
                seconds[side].extend(both[side].burst(counts[side]))
            found.append(math.log(statistics.median(seconds[1]) / statistics.median(seconds[0])))
        return math.exp(statistics.median(found))

    def _in_turn(self) -> float:
        """A B B A, each a process of its own that has the device's memory to itself."""
        seconds: tuple[list[float], list[float]] = ([], [])
        for side in (0, 1, 1, 0):
            seconds[side].append(statistics.median(self._alone(side, BLOCKS)[0]))
        return math.sqrt(math.prod(seconds[1]) / math.prod(seconds[0]))

    def _alone(self, side: int, bursts: int = 0) -> tuple[list[float], dict[str, Any]]:
        try:
            with self._process(side) as process:
                warm = process.ready()
                self.machine = warm["machine"]
                count = _samples(warm["seconds"][-1])
                return [one for _ in range(bursts) for one in process.burst(count)], warm
        except DoesNotFit:
            raise ModelError(f"{self._works[side].name}: a training step does not fit in the memory") from None

    @contextmanager
    def _process(self, side: int) -> Iterator[StepProcess]:
        try:
            process = StepProcess(self._works[side], self._environment, self._until)
        except OSError as error:
            raise ResultsError(f"a process to measure with cannot be started: {error.strerror}") from None
        try:
            yield process
        finally:
            process.close()


def _samples(seconds: float) -> int:
    return min(MOST_SAMPLES, max(1, round(BURST / seconds)))
