"""Where cells run: one a GPU, or a share of the cores."""

from __future__ import annotations

import pytest

from pdebench.errors import SlotError
from pdebench.system import slots as module
from pdebench.system.slots import slots


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "available_cores", lambda: (2, 3, 4, 5, 6))


def test_a_cpu_is_one_slot_or_is_shared_out_and_pinned() -> None:
    (whole,) = slots(None)
    assert (whole.name, whole.cores, whole.environment["OMP_NUM_THREADS"]) == ("cpu", None, "5")
    first, second = slots(2)
    assert (first.name, first.cores, first.environment["OMP_NUM_THREADS"]) == ("cpu 2-3", (2, 3), "2")
    assert second.cores == (4, 5)
    assert [slot.name for slot in slots(5)] == [f"cpu {i}" for i in (2, 3, 4, 5, 6)]
    with pytest.raises(SlotError, match="--workers 6 on 5 cores"):
        slots(6)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in slots(None)[0].environment


def test_every_visible_gpu_is_a_slot_that_sees_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-abc,3,4")
    assert [dict(slot.environment) for slot in slots(None)] == [
        {"CUDA_VISIBLE_DEVICES": n} for n in ("0", "GPU-abc", "3", "4")
    ]
    assert [slot.name for slot in slots(2)] == ["cuda:0", "cuda:GPU-abc"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(None, devices=2)] == ["0,GPU-abc", "3,4"]
    with pytest.raises(SlotError, match="4 GPUs, too few for 1 worker of 8 GPUs"):
        slots(None, devices=8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(SlotError, match="there is 1 GPU, too few for 2 workers of 1 GPU"):
        slots(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert slots(None)[0].name == "cpu"
