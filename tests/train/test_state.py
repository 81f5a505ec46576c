"""A training that is cut off and goes on: bit for bit the one that was not."""

from __future__ import annotations

import math
import os
import random
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import data, model, run

from pdebench.errors import CellWarning, Interrupted, ResultsError
from pdebench.files import state_file
from pdebench.train import bits
from pdebench.train.batches import Images
from pdebench.train.loop import Progress, Trained
from pdebench.train.state import KEPT, Snapshots

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
    with warnings.catch_warnings():
        warnings.simplefilter("error", CellWarning)  # there is nothing to be said of it
        resumed = run(precision=precision, validate=validated, snapshots=Snapshots(tmp_path / "state"), **SETTINGS)
    got, wanted = outcome(resumed), outcome(whole)
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    assert resumed.bit_exact
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
    with pytest.warns(CellWarning, match="00000011.pt, a saved state, cannot be read .* and is passed over"):
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
    with (tmp_path / "state" / "00000001.pt").open("wb") as file:
        state_file.save({"step": 1, "model": Crafted(tmp_path / "broken-in")}, file)
    with pytest.warns(CellWarning, match="cannot be read") as told:
        assert Snapshots(tmp_path / "state").load() is None
    assert "the training began anew" in str(told[-1].message)
    assert not (tmp_path / "broken-in").exists()


# ---- what a state belongs to


SHORT = {"steps": 6, "flip": True}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of step 4 of a training that was interrupted there."""
    return interrupted(tmp_path_factory.mktemp("interrupted"))


def interrupted(folder: Path, **settings: Any) -> bytes:
    folder.mkdir(exist_ok=True)
    snapshots = CutOff(folder / "state", steps=1, cell="a" * 12)
    snapshots.at = 4
    with pytest.raises(Cut):
        run(snapshots=snapshots, **SHORT | settings)
    return (folder / "state" / "00000004.pt").read_bytes()


def gone_on(folder: Path, content: bytes, *, name: str = "00000004.pt", **settings: Any) -> Trained:
    """A training that finds one state."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / name).write_bytes(content)
    return run(snapshots=Snapshots(folder / "state", cell="a" * 12), **SHORT | settings)


def test_the_state_of_the_training_itself_is_gone_on_with(tmp_path: Path, state: bytes) -> None:
    assert gone_on(tmp_path, state).resumed_from == 4


OTHER_LABELS = Images(data().pixels, 1 - data().labels)  # type: ignore[operator]
OTHER_PIXELS = Images(255 - data().pixels, data().labels)
ONE_PIXEL = Images(data().pixels.clone(), data().labels)
ONE_PIXEL.pixels[7, 2, 15, 15] ^= 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": 1}, "train.seed is 0, not 1"),
        ({"lr": 2e-3}, "train.lr is 0.001, not 0.002"),
        ({"steps": 7}, "train.steps is 6, not 7"),
        ({"batch_size": 2}, "train.batch_size is 4, not 2"),
        ({"ema": 0.5}, "train.ema"),
        ({"label_dropout": 0.5}, "train.label_dropout"),
        ({"accumulate": 2}, "train.accumulate"),
        ({"flip": False}, "data.flip is True, not False"),
        ({"images": OTHER_LABELS}, "data_checksum"),
        ({"images": OTHER_PIXELS}, "data_checksum"),
        ({"images": ONE_PIXEL}, "data_checksum"),
        ({"images": data(13)}, "data_checksum"),
    ],
)
def test_the_state_of_another_training_is_refused(
    settings: dict[str, Any], name: str, tmp_path: Path, state: bytes
) -> None:
    with pytest.raises(ResultsError, match=f"is a saved state of another training: its {name}"):
        gone_on(tmp_path, state, **settings)
    assert (tmp_path / "state" / "00000004.pt").read_bytes() == state, "nothing is lost"


def test_a_state_of_before_a_key_came_is_gone_on_with_where_the_key_changes_nothing(
    tmp_path: Path, state: bytes
) -> None:
    path = tmp_path / "older"
    path.write_bytes(state)
    with path.open("rb") as file:
        found = state_file.load(file)
    for key in ("train.times", "train.times_mean", "train.prediction"):
        del found["belongs"][key]
    with path.open("wb") as file:
        state_file.save(found, file)
    assert gone_on(tmp_path, path.read_bytes()).resumed_from == 4
    with pytest.raises(ResultsError, match=r"its train\.prediction is velocity, not x"):
        gone_on(tmp_path, path.read_bytes(), prediction="x")


def test_the_state_of_another_cell_is_refused(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "00000004.pt").write_bytes(state)
    for cell in ("b" * 12, None):
        with pytest.raises(ResultsError, match="its cell is aaaaaaaaaaaa, not"):
            Snapshots(tmp_path, cell=cell).load()


def test_a_state_of_another_step_than_its_name_says_is_passed_over(tmp_path: Path, state: bytes) -> None:
    with pytest.warns(CellWarning, match="01000000.pt, a saved state, cannot be read .*another step"):
        assert gone_on(tmp_path, state, name="01000000.pt").resumed_from is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"step": 1_000_000}, "it is of step 1000000, and there are 6"),
        ({"step": 0}, "it is of step 0"),
        ({"step": 5}, "it has not 5 values"),
        ({"left": torch.tensor([99])}, "the images that are left"),
        ({"left": torch.tensor([-1])}, "the images that are left"),
        ({"left": torch.zeros(3)}, "the images that are left"),
        ({"bits": None}, "TypeError"),
        ({"conditions": [(0, 1)]}, "TypeError"),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(
    changes: dict[str, Any], why: str, tmp_path: Path, state: bytes
) -> None:
    path = tmp_path / "whole"
    path.write_bytes(state)
    with path.open("rb") as file:
        found = state_file.load(file) | changes
    (tmp_path / "state").mkdir()
    name = f"{found['step']:08}.pt"
    with (tmp_path / "state" / name).open("wb") as file:
        state_file.save(found, file)
    with pytest.raises(ResultsError, match=f"has no state of this cell .*{why}"):
        gone_on(tmp_path, (tmp_path / "state" / name).read_bytes(), name=name)


# ---- what became of it on disk


def test_flipped_bits_zeroed_blocks_and_lost_ends_of_a_state_are_noticed(tmp_path: Path, state: bytes) -> None:
    chance = random.Random(0)
    snapshots = Snapshots(tmp_path, cell="a" * 12)
    damaged = []
    for place in chance.sample(range(len(state)), 64):
        damaged.append(bytearray(state))
        damaged[-1][place] ^= 1 << chance.randrange(8)
    for size in (512, 4096):
        place = len(state) // 2 // size * size
        damaged.append(bytearray(state[:place] + bytes(size) + state[place + size :]))
    damaged += [bytearray(state[:-cut]) for cut in (*range(1, 60), len(state) // 2, len(state) - 30, len(state))]
    for content in damaged:
        (tmp_path / "00000004.pt").write_bytes(content)
        with pytest.warns(CellWarning, match="is passed over"):
            assert snapshots.load() is None


def test_a_training_whose_states_are_all_damaged_says_that_it_began_anew_and_keeps_its_new_ones(
    tmp_path: Path, state: bytes
) -> None:
    (tmp_path / "state").mkdir()
    for step in (5, 6):
        (tmp_path / "state" / f"{step:08}.pt").write_bytes(state[:-5])
    snapshots = CutOff(tmp_path / "state", steps=1, cell="a" * 12)
    snapshots.at = 2
    with (
        pytest.warns(CellWarning, match="no saved state is left to go on from: the training began anew"),
        pytest.raises(Cut),
    ):
        run(snapshots=snapshots, **SHORT)
    with pytest.warns(CellWarning, match="passed over"):
        resumed = run(snapshots=Snapshots(tmp_path / "state", cell="a" * 12), **SHORT)
    assert resumed.resumed_from == 2


def test_a_state_of_an_older_pdebench_is_passed_over_and_stays(tmp_path: Path) -> None:
    older = tmp_path / "state" / "00000012.pt"
    older.parent.mkdir()
    torch.save({"step": 12, "source": None}, older)
    content = older.read_bytes()
    snapshots = CutOff(tmp_path / "state", steps=1, cell="a" * 12)
    snapshots.at = 3
    with pytest.warns(CellWarning, match="12.pt, a saved state, is of another version of pdebench"), pytest.raises(Cut):
        run(snapshots=snapshots, **SHORT)
    assert older.read_bytes() == content
    with pytest.warns(CellWarning):
        found = snapshots.load()
    assert found is not None
    assert found["step"] == 3


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.with_name("elsewhere"))])
def test_what_is_no_plain_file_is_neither_waited_for_nor_followed(make: Any, tmp_path: Path, state: bytes) -> None:
    (tmp_path / "elsewhere").write_bytes(state)
    make(tmp_path / "00000004.pt")
    with pytest.raises(ResultsError, match="remove it"):
        Snapshots(tmp_path, cell="a" * 12).load()


def test_a_folder_of_states_that_is_a_link_is_refused(tmp_path: Path, state: bytes) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "00000004.pt").write_bytes(state)
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResultsError, match="is a link: remove it"):
        Snapshots(tmp_path / "state", cell="a" * 12).load()


def test_what_is_not_ours_in_the_folder_of_states_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_bytes(b"mine")
    snapshots = Snapshots(tmp_path)
    snapshots.save(1, {})
    assert snapshots.load() is not None
    snapshots.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.pt"]


# ---- what its bits depend on


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 3),
        ("cpu", "Intel 8086"),
        ("instructions", "NO AVX"),
        ("torch", "1.0"),
        ("pdebench", "0.1"),
        ("processes", 2),
        ("device", "NVIDIA H100"),
        ("token mixer", "by hand"),
    ],
)
def test_a_resume_under_other_conditions_says_so(
    name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depends_on = bits.bits_depend_on

    def other(*arguments: Any) -> dict[str, Any]:
        return depends_on(*arguments) | {name: value}

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("pdebench.train.loop.bits_depend_on", other)
        first = interrupted(tmp_path / "first")
    now = depends_on(model(), torch.device("cpu"), "fp32", 1)[name]
    said = f"went on from step 4 under other conditions than before, {name} {re.escape(str(now))} .before: {value}"
    with pytest.warns(CellWarning, match=said):
        assert gone_on(tmp_path, first).bit_exact is False
    # what was before the last interruption counts, too
    second = CutOff(tmp_path / "twice" / "state", steps=1, cell="a" * 12)
    second.folder.mkdir(parents=True)
    (second.folder / "00000004.pt").write_bytes(first)
    second.at = 5
    with pytest.warns(CellWarning), pytest.raises(Cut):
        run(snapshots=second, **SHORT)
    with pytest.warns(CellWarning, match=f"from step 5 .*{name} {re.escape(str(now))} .before: {value}"):
        assert run(snapshots=Snapshots(second.folder, cell="a" * 12), **SHORT).bit_exact is False


def test_other_arithmetic_is_said(tmp_path: Path, state: bytes) -> None:
    with pytest.warns(CellWarning, match=r"precision bf16 \(before: fp32\)"):
        assert gone_on(tmp_path, state, precision="bf16").bit_exact is False


def test_a_training_that_was_not_interrupted_claims_nothing(tmp_path: Path) -> None:
    assert run(steps=2).bit_exact is None
    assert run(steps=2, snapshots=Snapshots(tmp_path / "state")).bit_exact is None
