"""Same threads, same seeds, no network: what every test starts from."""

from __future__ import annotations

import compileall
import os
import signal
import sys
from pathlib import Path

# Two torch threads that share a core with others' wait for each other, spinning: beside another worker a test has one,
# and so have the processes that it starts. A worker's environment is that of the process that began it, which has two.
os.environ["OMP_NUM_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else os.environ.get("OMP_NUM_THREADS", "2")

# What is started in the background ignores Ctrl-C, and so do all whom it starts: tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import runs
import tally
import torch
from hypothesis import settings

settings.register_profile("pdebench", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("pdebench")
# as many as the processes that it starts have: sums of another number of threads differ in their last bits
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from the user's cache or left there, and no test waits for a run that has the device.

    What models cost is counted once for all workers: each count takes a process that imports a compiler.
    """
    cache, base = tmp_path_factory.mktemp("cache"), tmp_path_factory.getbasetemp()
    counts = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "counts"
    counts.mkdir(exist_ok=True)
    (cache / "counts").symlink_to(counts)
    os.environ["PDEBENCH_CACHE"] = str(cache)
    runs.ordinary.update(runs.environment())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_configure() -> None:
    """Compile the package once: where nobody may write bytecode each process would again, for a second each.

    What tests write and change is compiled as before, by whoever imports it.
    """
    if sys.dont_write_bytecode and "PYTEST_XDIST_WORKER" not in os.environ:
        compileall.compile_dir(Path(__file__).parents[1] / "pdebench", quiet=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was attacked, where something was."""
    if counts := tally.table():
        terminalreporter.section("attacks")
        terminalreporter.write_line(counts)
