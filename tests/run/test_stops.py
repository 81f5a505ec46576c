"""A stop is a stop: whatever is asked to end saves what it has, wherever it is, and takes nothing for damaged."""

from __future__ import annotations

import ast
import fcntl
import gc
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from runs import command, pdebench_run, wait_for, without_report, workers, write_images

import pdebench
from pdebench.data import pixels, registry
from pdebench.errors import Interrupted, PdebenchError
from pdebench.metrics import kept
from pdebench.plan import cost_cache
from pdebench.results.store import Results, write_own
from pdebench.run.exit_codes import INTERRUPTED
from pdebench.run.local import executor
from pdebench.suite.config import DataConfig
from pdebench.train.state import Snapshots

ONE = ("--set", "grid.model.family=[DiT]")
LONG = (*ONE, "--set", "train.steps=400", "--set", "execution.checkpoint_seconds=0.2")


def test_no_handler_of_errors_catches_a_stop() -> None:
    """Whoever catches everything passes it on: only so does a stop arrive."""
    assert not issubclass(Interrupted, Exception)
    assert not issubclass(Interrupted, PdebenchError)
    for path in Path(pdebench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in ast.dump(node.type)):
                assert isinstance(node.body[-1], ast.Raise), f"{path}:{node.lineno} may swallow a stop"


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of several processes on the same cores wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


# ---- in the middle of something


@pytest.fixture
def asked(tmp_path: Path) -> Snapshots:
    """What a signal's handler asks."""
    return Snapshots(tmp_path / "state")


def ending(asked: Snapshots, real: Callable[..., Any]) -> Callable[..., Any]:
    """As `real`, in the middle of which a stop arrives, the first time."""

    def stopped(*given: Any, **named: Any) -> Any:
        asked.end()
        return real(*given, **named)

    return stopped


@pytest.mark.parametrize(
    ("of", "name"), [(Image, "open"), (Image.Image, "load"), (Image.Image, "crop"), (pixels, "resize")]
)
def test_a_stop_while_decoding_leaves_no_image_out(
    tmp_path: Path, asked: Snapshots, monkeypatch: pytest.MonkeyPatch, of: Any, name: str
) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path)
    config = DataConfig(name="folder", path=tmp_path / "images", resolution=16)
    with monkeypatch.context() as patched:
        patched.setattr(of, name, ending(asked, getattr(of, name)))
        with pytest.raises(Interrupted):
            registry.load(config, "train")
    splits = [registry.load(config, split) for split in ("train", "validation")]
    assert sum(map(len, splits)) == 40
    assert not any(loaded.skipped for loaded in splits)


@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_a_cell_is_being_started_leaves_it_a_record(
    suite: Path, tmp_path: Path, ask: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    class JustStarted(executor.Child):
        def __init__(self, *about: Any) -> None:
            super().__init__(*about)
            os.kill(os.getpid(), ask)

    monkeypatch.setattr(executor, "Child", JustStarted)
    run = pdebench_run("run", suite, "--results", tmp_path / "out", "--set", "train.steps=100000")
    assert run.returncode == 130, run.stdout + run.stderr
    assert list(pdebench.load_results(tmp_path / "out")["status"]) == ["interrupted"]
    wait_for(lambda: not workers())


def test_a_stop_while_a_state_loads_does_not_pass_it_over(asked: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.save(7, {"what": torch.ones(2)})
    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", ending(asked, torch.load))
        with pytest.raises(Interrupted):
            asked.load()
    state = Snapshots(asked.folder).load()
    assert state is not None
    assert state["step"] == 7


def test_a_stop_while_an_entry_of_the_cache_is_read_or_made_is_none_of_its_errors(
    tmp_path: Path, asked: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    model = ("DiT-XXS/8", {"input_size": 16, "in_channels": 3, "num_classes": None})
    for name in ("_entry", "digests_of", "read_sealed"):
        stop = Snapshots(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(cost_cache, name, ending(stop, getattr(cost_cache, name)))
            with pytest.raises(Interrupted):
                cost_cache.cached_cost(*model)
    assert cost_cache.cached_cost(*model)[1] > 0
    path = tmp_path / "features.safetensors"
    kept.write(path, {"features": torch.ones(3, 2)})
    monkeypatch.setattr(kept, "_digest", ending(asked, kept._digest))
    with pytest.raises(Interrupted):
        kept.read(path, {"features": (3, 2)}, torch.float32)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_that_was_lost_is_raised_again(asked: Snapshots) -> None:
    """What rises in a `__del__` is printed and forgotten, by Python itself."""

    class Last:
        def __del__(self) -> None:
            asked.end()

    Last()
    gc.collect()
    asked.end()  # one more while the first is on its way is not raised on top of it
    with pytest.raises(Interrupted):
        asked.insist()
    asked.training = True
    asked.insist()  # training looks itself, when its state can be saved
    assert asked.due(3)


# ---- whole runs


def terminal(*arguments: object) -> tuple[subprocess.Popen[bytes], int]:
    """A run in a terminal of its own, and the end that closes it."""
    master, slave = pty.openpty()

    def take() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command(*arguments), stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=take
    )
    os.close(slave)
    return process, master


def states(results: Path) -> list[str]:
    return sorted(path.name for path in results.glob("cells/*/state/[0-9]*.pt"))


def trains(results: Path) -> Callable[[], bool]:
    return lambda: bool(states(results))


def records(results: Path) -> list[dict[str, Any]]:
    found = Results(results)
    return [record for cell in found.plan() if (record := found.record(cell)) is not None]


def goes_on(results: Path, *arguments: object) -> None:
    """The cell ended as it was asked to, and the next run begins with its state."""
    (record,) = records(results)
    assert (record["status"], record["exit_code"]) == ("interrupted", INTERRUPTED)
    assert states(results)
    again = pdebench_run(*arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    assert pdebench.load_results(results)["resumed_from_step"][0] > 0


@pytest.mark.parametrize("isolation", ["fresh", pytest.param("warm", marks=pytest.mark.exhaustive)])
def test_closing_the_terminal_saves_the_state(suite: Path, tmp_path: Path, isolation: str) -> None:
    results = tmp_path / "out"
    run = ("run", suite, "--results", results, *LONG, "--set", f"execution.isolation={isolation}")
    process, master = terminal(*run)
    wait_for(trains(results))
    os.close(master)
    assert process.wait(60) == 130
    goes_on(results, *run)


@pytest.mark.parametrize(
    "ask",
    [signal.SIGTERM, *(pytest.param(ask, marks=pytest.mark.exhaustive) for ask in (signal.SIGHUP, signal.SIGUSR2))],
)
def test_asking_twice_at_once_is_asking_and_a_reader_that_is_gone_is_no_matter(
    suite: Path, tmp_path: Path, ask: signal.Signals
) -> None:
    results = tmp_path / "out"
    run = ("run", suite, "--results", results, *LONG)
    process = subprocess.Popen(without_report(*run), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(trains(results))
    assert process.stdout is not None
    process.stdout.close()  # as `| tee log` is, which was asked too
    process.send_signal(ask)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    goes_on(results, *run)


def test_a_run_under_nohup_outlives_its_terminal(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    run = without_report("run", suite, "--results", results, *LONG)
    with (tmp_path / "printed").open("w") as printed:
        process = subprocess.Popen(["nohup", *run], stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
    wait_for(trains(results))
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0, (tmp_path / "printed").read_text()
    assert pdebench.load_results(results)["resumed_from_step"].isna().all()


@pytest.mark.parametrize("ask", [signal.SIGHUP, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)])
def test_a_cell_that_is_asked_itself_saves_its_state(suite: Path, tmp_path: Path, ask: signal.Signals) -> None:
    results = tmp_path / "out"
    run = ("run", suite, "--results", results, *LONG)
    process = subprocess.Popen(without_report(*run), stdout=subprocess.DEVNULL)
    wait_for(trains(results))
    for cell in workers():
        os.kill(cell, ask)
    process.wait(60)
    goes_on(results, *run)


def test_a_stop_while_the_report_is_written_leaves_it_to_the_next_run(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "out"
    run = ("run", suite, "--results", results, *ONE)
    assert pdebench_run(*run).returncode == 0
    (results / "report.html").unlink()
    write_own(results, "report.html", "of before")
    for record in results.glob("cells/*/record.json"):
        record.unlink()

    def stopped(*given: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("pdebench.run.sweep.write_tables", stopped)
        assert pdebench_run(*run).returncode == 130
    assert [record["status"] for record in records(results)] == ["done"]
    assert pdebench_run(*run).returncode == 0
    assert (results / "report.html").read_text() != "of before"
