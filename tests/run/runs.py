"""Whole runs of a tiny suite, as a user starts them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from pdebench.cli import main
from pdebench.run import sweep
from pdebench.system import stop_signals
from pdebench.system.stop_signals import ASKS

os.environ["PDEBENCH_TESTS"] = f"of-{os.getpid()}"  # everything that is started from here has it, orphans too
OURS = f"PDEBENCH_TESTS=of-{os.getpid()}\0".encode()

ordinary: dict[str, str] = {}  # the environment of a session's tests, but for what one of them changes


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


SUITE = """\
suite: tiny
data: {{name: folder, path: {images}, resolution: 16, flip: false}}
model: {{family: DiT, size: XXS, patch: 8, depth: 1, width: 64}}
train: {{steps: {steps}, batch_size: 4, lr: 1e-3}}
evaluate: {{samples: 4, nfe: 2, batch_size: 4}}
grid:
  model.family: [DiT, PDE-SSM-DiT]
"""


def write_images(folder: Path) -> None:
    """40 small generated images in two classes."""
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / "images" / ("red" if i % 2 else "blue") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)


def write_suite(folder: Path, steps: int = 3, more: str = "") -> Path:
    path = folder / "tiny.yaml"
    path.write_text(SUITE.format(images=folder / "images", steps=steps) + more)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pdebench", *map(str, arguments)]


def without_report(*arguments: object) -> list[str]:
    """`command`, for a run whose report nobody looks at: importing what draws one takes longer than a small cell."""
    code = "import pdebench.run.sweep as s; s._publish = lambda *_: None; from pdebench.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def pdebench_run(*arguments: object, report: bool = True) -> subprocess.CompletedProcess[str]:
    """A command from its beginning to its end, its cells in processes of their own.

    The command itself runs here: a process of its own spends most of its time on importing what a report is made of.
    Its cells are forks of one warm process: a fresh one imports for seconds what it trains with for tenths. They are
    fresh where that is asked for, or where a test has changed the environment, which the warm process does not see.
    Tables and report, a quarter of the work of a run of small cells, are left out where nobody looks at them.
    """
    told, complained = io.StringIO(), io.StringIO()
    handlers = {ask: signal.getsignal(ask) for ask in (signal.SIGINT, *ASKS)}
    typed = ["pdebench", *map(str, arguments)]
    if (
        typed[1] == "run"
        and environment() == ordinary
        and not any(word.startswith("execution.isolation=") for word in typed)
    ):
        typed += ["--set", "execution.isolation=warm"]
    code: int | str | None = 0
    try:
        published = nullcontext() if report else patch.object(sweep, "_publish")
        with published, patch.object(sys, "argv", typed), redirect_stdout(told), redirect_stderr(complained):
            main()
    except SystemExit as end:
        code = end.code
    except Exception:  # a process would end with the traceback, and a test be shown it
        complained.write(traceback.format_exc())
        code = 1
    finally:
        for ask, handler in handlers.items():
            signal.signal(ask, handler)
        stop_signals.came.clear()
    return subprocess.CompletedProcess(typed, int(code or 0), told.getvalue(), complained.getvalue())


def run_one_cell(folder: Path, more: str = "") -> tuple[Path, Path]:
    """A suite of one cell on images of its own, and the results that it was run into."""
    write_images(folder)
    suite, results = write_suite(folder, more=f"exclude: [{{model.family: PDE-SSM-DiT}}]\n{more}"), folder / "out"
    ran = pdebench_run("run", suite, "--results", results)
    assert ran.returncode == 0, ran.stderr
    return suite, results


def workers() -> list[int]:
    """Processes of cells that these tests started, on Linux; those of other people's runs are not ours to end."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            ours = OURS in path.with_name("environ").read_bytes()
            if ours and b"pdebench.run.worker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
