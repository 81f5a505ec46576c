"""The largest batch that fits is found without harm to the process that asks."""

import json
import subprocess
import sys

import pytest

from pdebench.measure.largest_batch import Trial, largest_batch
from pdebench.suite.config import TrainConfig

BUILD = {"input_size": 32, "in_channels": 3, "num_classes": None, "depth": 2}
TRAIN = TrainConfig(steps=1, batch_size=1, lr=1e-3).model_dump(mode="json")
LITTLE_MEMORY = """
import json, resource, sys
from pdebench.measure.largest_batch import Trial, largest_batch
resource.setrlimit(resource.RLIMIT_DATA, (12 * 10**8, 12 * 10**8))  # as a cell's memory limit: for what it starts too
print(json.dumps(largest_batch(Trial(**json.loads(sys.argv[1])), seconds=120)))
"""


def trial(start: int) -> Trial:
    return Trial("DiT-XXS/2", BUILD, "generation", TRAIN, "fp32", start)


def test_it_doubles_until_the_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TOP_PAD_", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the limit is one of host memory
    asked = [sys.executable, "-c", LITTLE_MEMORY, json.dumps(vars(trial(16)))]
    answer = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=240).stdout
    assert json.loads(answer) in [
        {"largest_batch": batch, "largest_batch_bound": "memory"} for batch in (16, 32, 64, 128)
    ]


def test_what_is_no_want_of_memory_is_not_taken_for_one() -> None:
    broken = Trial("DiT-XXS/2", BUILD | {"depth": -1}, "generation", TRAIN, "fp32", 1)
    found = largest_batch(broken, seconds=60)
    assert found["largest_batch"] is None
    assert found["largest_batch_bound"].startswith("error: the search ended with status 1: ")


def test_what_time_ended_says_so() -> None:
    assert largest_batch(trial(1), seconds=0.2) == {"largest_batch": None, "largest_batch_bound": "time"}
