"""The core that a gate leaves to others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pdebench.regress import baseline_gate, revision_gate, verb
from pdebench.system import spare_core
from pdebench.system.slots import available_cores
from pdebench.system.spare_core import a_core_left

several = pytest.mark.skipif(
    len(available_cores()) < 2 or not hasattr(os, "sched_setaffinity"), reason="one core, or none that can be chosen"
)


def cores_of_a_process() -> list[int]:
    """Those that a process may use which is started now."""
    asked = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    return [int(core) for core in subprocess.check_output(asked, text=True).split()]


@several
def test_processes_keep_off_one_core_for_so_long() -> None:
    before = cores_of_a_process()
    with a_core_left():
        assert sorted(cores_of_a_process()) == sorted(before)[1:]
    assert cores_of_a_process() == before
    with pytest.raises(ZeroDivisionError), a_core_left():
        raise ZeroDivisionError
    assert cores_of_a_process() == before


def test_of_one_core_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_core, "available_cores", lambda: (0,))
    before = available_cores()
    with a_core_left():
        assert available_cores() == before


GATES = {
    "against": lambda file: verb.run_gate(asked(against="HEAD"), "table"),
    "baseline": lambda file: verb.run_gate(asked(baseline=file), "table"),
    "save": lambda file: verb.run_save("nightly", file, 60.0),
}


def asked(against: str | None = None, baseline: Path | None = None) -> verb.GateRequest:
    return verb.GateRequest("nightly", against, baseline, 60.0, 0.05, (), None, None)


@several
@pytest.mark.parametrize("gate", GATES)
def test_a_gate_measures_so(gate: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[int] = []

    def measured(*_: object, **__: object) -> None:
        seen.append(len(cores_of_a_process()))
        raise InterruptedError  # enough was seen

    for module, name in ((revision_gate, "compare"), (baseline_gate, "compare"), (baseline_gate, "save")):
        monkeypatch.setattr(module, name, measured)
    with pytest.raises(InterruptedError):
        GATES[gate](tmp_path / "baselines.json")
    assert seen == [len(available_cores()) - 1]
