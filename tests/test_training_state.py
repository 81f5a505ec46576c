"""A training that is cut off and goes on: bit for bit the one that was not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_training import run

from pdebench.errors import Interrupted
from pdebench.training import Progress, Trained
from pdebench.training_state import KEPT, Snapshots

STEPS = 13


class Cut(Exception):
    """The machine went down."""


class CutOff(Snapshots):
    """Snapshots after every step, of which the one after `at` is the last that the machine lives to see."""

    at = 0

    def save(self, step: int, state: dict[str, object]) -> None:
        super().save(step, state)
        if step == self.at:
            raise Cut


def outcome(trained: Trained) -> dict[str, torch.Tensor]:
    weights = {
        f"{kind}.{name}": value for kind in ("model", "ema") for name, value in vars(trained)[kind].state_dict().items()
    }
    losses = [math.nan if value is None else value for value in trained.curve.val_loss]
    curve = torch.tensor([trained.curve.train_loss, trained.curve.grad_norm, trained.curve.lr, losses])
    return weights | {"curve": curve.nan_to_num(-1)}


SETTINGS = {"steps": STEPS, "flip": True, "validate_every": 5, "schedule": "cosine", "warmup": 3, "clip": 1.0}


def validated(model: torch.nn.Module) -> float:
    return float(next(model.parameters()).sum())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cuts", [[1], [2, 3], [5], [4, 12], [STEPS]])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, cuts: list[int], precision: str) -> None:
    whole = run(precision=precision, validate=validated, **SETTINGS)
    for at in cuts:
        snapshots = CutOff(tmp_path / "state", steps=1)
        snapshots.at = at
        torch.manual_seed(at)  # whatever the new process starts with
        with pytest.raises(Cut):
            run(precision=precision, validate=validated, snapshots=snapshots, **SETTINGS)
    torch.manual_seed(99)
    resumed = run(precision=precision, validate=validated, snapshots=Snapshots(tmp_path / "state"), **SETTINGS)
    got, wanted = outcome(resumed), outcome(whole)
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    assert resumed.curve.step == list(range(1, STEPS + 1))
    assert len(resumed.step_seconds) == len(resumed.data_seconds) == len(resumed.curve.seconds) == STEPS


def test_the_newest_two_are_kept_and_a_damaged_one_falls_back_to_the_one_before(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "state")
    assert snapshots.load() is None
    for step in (3, 7, 11):
        snapshots.save(step, {"value": torch.tensor(step)})
    files = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert files == ["00000007.pt", "00000011.pt"]
    assert len(files) == KEPT
    newest = tmp_path / "state" / files[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    found = snapshots.load()
    assert found is not None
    assert found["step"] == 7
    snapshots.clear()
    assert not (tmp_path / "state").exists()
    snapshots.clear()


def test_a_state_is_due_by_steps_by_time_and_when_asked_for(tmp_path: Path) -> None:
    assert [Snapshots(tmp_path, steps=4).due(step) for step in (3, 4, 5, 8)] == [False, True, False, True]
    assert Snapshots(tmp_path, seconds=0).due(1)
    assert not Snapshots(tmp_path).due(1)


def test_asked_to_end_it_saves_after_the_step_that_runs_or_ends_at_once_outside_of_training(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "state")
    with pytest.raises(Interrupted, match="asked to end"):
        Snapshots(tmp_path / "untrained").end()

    def ask(progress: Progress) -> None:
        snapshots.end()

    done = Snapshots(tmp_path / "done")
    run(snapshots=done, **SETTINGS)
    again = Snapshots(tmp_path / "done")
    run(snapshots=again, **SETTINGS)  # goes on after the last step: nothing is trained
    with pytest.raises(Interrupted, match="asked to end"):
        again.end()

    with pytest.raises(Interrupted, match="after step 10 of 13"):
        run(snapshots=snapshots, watch=ask, **SETTINGS)
    found = snapshots.load()
    assert found is not None
    assert found["step"] == 10


class Crafted:
    """Pickles to a call."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_state_made_to_run_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    torch.save({"step": 1, "model": Crafted(tmp_path / "broken-in")}, tmp_path / "state" / "00000001.pt")
    assert Snapshots(tmp_path / "state").load() is None
    assert not (tmp_path / "broken-in").exists()
