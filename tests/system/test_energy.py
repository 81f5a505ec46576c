"""Joules by a GPU's counter: a made-up NVML whose boards draw so many watts while a made-up clock runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest
import torch

from pdebench.errors import CellWarning
from pdebench.system import energy
from pdebench.system.distributed import ALONE
from pdebench.system.energy import EnergyMeter, counter_of

GPU, CPU = torch.device("cuda"), torch.device("cpu")


class NVMLError(Exception):
    """As the binding calls whatever NVML answers but success."""


@dataclass
class Board:
    """A GPU with its counter, in millijoules; `supported`: it is no older than Volta."""

    watts: float = 500.0
    name: str = "NVIDIA H200"
    uuid: str = "GPU-01"
    driver: bool = True
    supported: bool = True
    loaded: float = -1e6  # when its driver was loaded
    now: float = 0.0
    seen: list[str] = field(default_factory=list)

    def wait(self, device: object = None) -> None:
        self.seen.append("waited")

    def read(self, handle: object) -> int:
        self.seen.append("read")
        if not self.supported:
            raise NVMLError("Not Supported")
        return int(1000 * self.watts * (self.now - self.loaded))

    def start(self) -> None:
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def handle(self, uuid: str) -> object:
        if uuid != self.uuid:
            raise NVMLError("Not Found")
        return self


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    made = Board()
    nvml = ModuleType("pynvml")
    nvml.NVMLError = NVMLError  # type: ignore[attr-defined]
    nvml.nvmlInit = made.start  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetHandleByUUID = made.handle  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetTotalEnergyConsumption = made.read  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    about = SimpleNamespace(uuid="01")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: about.__dict__.update(name=made.name) or about)
    monkeypatch.setattr(torch.cuda, "synchronize", made.wait)
    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: made.now))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CellWarning)
        yield made


def stretch(meter: EnergyMeter, board: Board, images: int, seconds: float) -> None:
    meter.begin(images)
    board.now += seconds
    meter.end()
    board.now += 100.0  # idle, and no stretch


def test_what_is_counted_is_what_the_board_took_while_it_worked(board: Board) -> None:
    meter = EnergyMeter(GPU)
    stretch(meter, board, 10, 4.0)  # 2,000 J
    board.watts, board.loaded = 250.0, 2 * board.loaded - board.now  # half the power, and the same count
    meter.begin(5)
    board.now += 3.0
    meter.begin(5)  # more images of the stretch that runs
    board.now += 3.0
    meter.end()  # 1,500 J
    meter.end()  # none runs
    assert meter.joules_an_image(ALONE) == pytest.approx(3500 / 20)


def test_a_first_stretch_may_be_a_warm_up(board: Board) -> None:
    meter = EnergyMeter(GPU)
    stretch(meter, board, 1, 60.0)
    assert meter.joules_an_image(ALONE, first_counts=False) == pytest.approx(30_000)  # there is no other
    stretch(meter, board, 8, 4.0)
    assert meter.joules_an_image(ALONE, first_counts=False) == pytest.approx(250)
    assert meter.joules_an_image(ALONE) == pytest.approx(32_000 / 9)


def test_the_device_has_nothing_in_flight_when_it_is_read(board: Board) -> None:
    meter = EnergyMeter(GPU)
    board.seen.clear()
    stretch(meter, board, 1, 2.0)
    assert board.seen == ["waited", "read"] * 2


@pytest.mark.parametrize(
    "lacks",
    [{"supported": False}, {"driver": False}, {"uuid": "GPU-02"}, {"name": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"}],
    ids=["no counter", "no driver", "another machine's", "a part of a board"],
)
def test_a_gpu_without_a_counter_has_no_joules_and_nothing_is_said(board: Board, lacks: dict[str, object]) -> None:
    board.__dict__.update(lacks)
    assert counter_of(GPU) is None
    meter = EnergyMeter(GPU)
    stretch(meter, board, 10, 4.0)
    assert meter.joules_an_image(ALONE) is None
    assert "waited" not in board.seen  # it costs nothing


def test_neither_has_a_cpu_nor_a_machine_without_the_binding(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counter_of(GPU) is not None
    assert counter_of(CPU) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert counter_of(GPU) is None


@pytest.mark.parametrize("fault", ["begins anew", "fails"])
def test_a_counter_that_goes_back_or_fails_is_refused_with_a_warning(board: Board, fault: str) -> None:
    meter = EnergyMeter(GPU)
    stretch(meter, board, 10, 4.0)
    meter.begin(10)
    board.now += 4.0
    board.loaded, board.supported = (board.now, True) if fault == "begins anew" else (board.loaded, False)
    meter.end()
    board.supported = True
    stretch(meter, board, 10, 4.0)
    with pytest.warns(CellWarning, match="could not be read or went back"):
        assert meter.joules_an_image(ALONE) is None


@pytest.mark.parametrize(("seconds", "watts"), [(0.9, 500.0), (60.0, 0.0)], ids=["too short", "stands still"])
def test_what_says_nothing_is_not_told(board: Board, seconds: float, watts: float) -> None:
    board.watts = watts
    meter = EnergyMeter(GPU)
    stretch(meter, board, 10, seconds)
    assert meter.joules_an_image(ALONE) is None


def test_who_worked_on_nothing_has_no_joules(board: Board) -> None:
    assert EnergyMeter(GPU).joules_an_image(ALONE) is None
