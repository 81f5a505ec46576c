"""Two processes that share a cell find what one finds, and agree on how it goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest
import torch
import two_processes
from hypothesis import given
from hypothesis import strategies as st
from test_loop import CPU, config, data, model

from pdebench.system.distributed import ALONE, World, join
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.loop import train

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two processes found, started once for all tests."""
    folder = tmp_path_factory.mktemp("two")
    with socket.create_server(("127.0.0.1", 0)) as meeting:
        port, listener = meeting.getsockname()[1], meeting.detach()
    script = [sys.executable, two_processes.__file__]
    processes = [
        subprocess.Popen(
            [*script, str(rank), str(port), str(listener), str(folder)], pass_fds=[listener],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    socket.close(listener)
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@given(st.integers(1, 9), st.integers(0, 40))
def test_every_image_and_every_piece_of_work_is_somebodys(size: int, count: int) -> None:
    worlds = [World(rank, size) for rank in range(size)]
    batch = list(range(count * size))
    assert [image for world in worlds for image in batch[world.part(len(batch))]] == batch
    assert len({len(batch[world.part(len(batch))]) for world in worlds}) == 1
    taken = [list(world.mine(count)) for world in worlds]
    assert sorted(piece for pieces in taken for piece in pieces) == list(range(count))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_one_process_is_a_world_of_its_own() -> None:
    assert join(0, 1, 0) is ALONE
    net = model()
    assert ALONE.replica(net) is net
    assert list(ALONE.rounds(["a", "b"], 2)) == [["a"], ["b"]]
    assert ALONE.mean([1.0, 2.0]) == [1.0, 2.0]
    assert (ALONE.any(True), ALONE.any(False), ALONE.same(2)) == (True, False, True)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("name", two_processes.TRAININGS)
def test_two_processes_learn_what_one_does(found: Found, name: str) -> None:
    """Losses and norms are of the whole batch; weights differ by what sums in another order do."""
    alone = two_processes.found_of(two_processes.trained(name))
    for mine in found:
        for column in ("train_loss", "grad_norm", "images", "lr"):
            assert mine[name][column] == pytest.approx(alone[column], rel=2e-4), column
        for ours, theirs in zip(mine[name]["val_loss"], alone["val_loss"], strict=True):
            assert ours == (None if theirs is None else pytest.approx(theirs, rel=2e-4))
        for kind in ("model", "ema"):
            for key, weight in alone[kind].items():
                # AdamW's first steps are of the gradient's sign: where that is rounding, so is a step
                torch.testing.assert_close(mine[name][kind][key], weight, rtol=1e-3, atol=2e-4)
    assert all(torch.equal(found[0][name]["model"][key], found[1][name]["model"][key]) for key in alone["model"])


def test_micro_batches_of_one_process_are_its_batch() -> None:
    whole, split = (
        train(model(), data(), asked, learner=GENERATION.learner(asked), device=CPU, precision="fp32")
        for asked in (config(accumulate=1), config(accumulate=4))
    )
    assert split.curve.train_loss == pytest.approx(whole.curve.train_loss, rel=1e-4)
    assert split.curve.grad_norm == pytest.approx(whole.curve.grad_norm, rel=1e-4)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_validation_loss_is_one_process_to_the_last_bit(found: Found, size: int) -> None:
    expected = flow.validation_loss(model().eval(), data().pixels, data().labels, batch_size=size)
    assert [mine[f"validation by {size}"] for mine in found] == [expected] * 2


def test_they_agree_and_gather_in_order(found: Found) -> None:
    for mine in found:
        assert mine["mean"] == [0.5, 5.0]
        assert mine["any"] == [False, True]
        assert mine["same"] == [True, False]
        assert mine["rounds of 0"] == []
        assert mine["rounds of 1"] == [["0"]]
        assert mine["rounds of 4"] == [["0", "1"], ["2", "3"]]
        assert mine["rounds of 5"] == [["0", "1"], ["2", "3"], ["4"]]


def test_joules_are_those_of_all_devices_over_all_images(found: Found) -> None:
    """8 J for 4 images; nothing where one of the devices says nothing, though the other does."""
    for mine in found:
        told = [mine[f"joules of {case}"] for case in two_processes.METERED]
        assert told == [2.0, None, None]


def test_a_state_is_saved_when_it_is_due_and_by_the_first_alone(found: Found) -> None:
    """After the first step and after the last, not after each: the others too know when the first saved."""
    assert [mine["saves"] for mine in found] == [2, 0]


def test_all_see_that_the_training_diverged(found: Found) -> None:
    assert "the training loss became" in found[0]["diverged"]
    assert found[0]["diverged"] == found[1]["diverged"]


def test_weights_that_are_shared_out_are_held_once(found: Found) -> None:
    held, whole = [mine["held"] for mine in found], found[0]["whole"]
    assert sum(held) == whole
    assert max(held) < 0.6 * whole


@pytest.mark.parametrize("name", two_processes.RESUMED)
def test_where_one_is_asked_to_end_all_do_after_the_same_step_and_go_on_to_the_same_bits(
    found: Found, name: str
) -> None:
    for mine in found:
        again = mine[f"resumed {name}"]
        assert again["interrupted"] == f"asked to end, after step {two_processes.ENDED_AFTER} of {two_processes.STEPS}"
        assert again["states"] == [f"{two_processes.ENDED_AFTER:08}.pt"]
        assert again["from"] == two_processes.ENDED_AFTER
        whole, resumed = mine[name], again["found"]
        for column in ("train_loss", "val_loss", "grad_norm"):
            assert whole[column] == resumed[column]
        for kind in ("model", "ema"):
            assert all(torch.equal(whole[kind][key], resumed[kind][key]) for key in whole[kind])
