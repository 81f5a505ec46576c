"""The largest batch that fits is found without harm to the process that asks."""

import resource
from collections.abc import Iterator

import pytest

from pdebench.config import TrainConfig
from pdebench.measure.largest_batch import Trial, largest_batch

BUILD = {"input_size": 32, "in_channels": 3, "num_classes": None, "depth": 2}
TRAIN = TrainConfig(steps=1, batch_size=1, lr=1e-3).model_dump(mode="json")


def trial(start: int) -> Trial:
    return Trial("DiT-XXS/2", BUILD, TRAIN, "fp32", start)


def test_what_is_no_want_of_memory_is_not_taken_for_one() -> None:
    broken = Trial("DiT-XXS/2", BUILD | {"depth": -1}, TRAIN, "fp32", 1)
    with pytest.raises(RuntimeError, match="ended with status 1"):
        largest_batch(broken, seconds=60)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a cell's memory limit leaves to the processes that it starts."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "0")
    resource.setrlimit(resource.RLIMIT_DATA, (12 * 10**8, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.usefixtures("little_memory")
def test_it_doubles_until_the_memory_is_full() -> None:
    found = largest_batch(trial(16), seconds=120)
    assert found["largest_batch_bound"] == "memory"
    assert found["largest_batch"] in (16, 32, 64, 128)


def test_what_time_ended_says_so() -> None:
    assert largest_batch(trial(1), seconds=0.2) == {"largest_batch": None, "largest_batch_bound": "time"}
