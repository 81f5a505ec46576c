"""`pdebench doctor --timing`: what makes a machine loud is named, and what a container hides is said to be unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from pdebench.doctor import timing_checks
from pdebench.doctor.check import Check
from pdebench.measure import timing_stability
from pdebench.measure.timing_stability import TimingStability


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a file that the kernel would show."""
    monkeypatch.setattr(timing_checks, "CPUS", tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    return write


def only(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


@pytest.mark.usefixtures("cpus")
def test_what_is_hidden_is_unknown_and_no_warning() -> None:
    for check in map(only, (timing_checks.governor(), timing_checks.turbo(), timing_checks.throttling())):
        assert (check.state, check.detail[:7]) == ("ok", "unknown")


def test_a_clock_that_moves_is_named_with_what_to_do(cpus: Callable[[str, str], None]) -> None:
    cpus("cpu0/cpufreq/scaling_governor", "powersave")
    cpus("cpu1/cpufreq/scaling_governor", "performance")
    cpus("intel_pstate/no_turbo", "0")
    cpus("cpu0/thermal_throttle/core_throttle_count", "3")
    governor, turbo, throttling = map(
        only, (timing_checks.governor(), timing_checks.turbo(), timing_checks.throttling())
    )
    assert (governor.state, governor.detail) == ("warning", "performance, powersave: the clock follows the load")
    assert governor.remedy == "sudo cpupower frequency-set -g performance"
    assert turbo.state == "warning"
    assert "echo 1 | sudo tee" in turbo.remedy
    assert throttling.detail == "the processor was too hot 3 times since it started"


def test_a_quiet_machine_has_nothing_to_mend(cpus: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    cpus("cpu0/cpufreq/scaling_governor", "performance")
    cpus("cpufreq/boost", "0")
    cpus("cpu0/thermal_throttle/core_throttle_count", "0")
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.0, 0.0))
    checks = [
        only(check())
        for check in (timing_checks.governor, timing_checks.turbo, timing_checks.throttling, timing_checks.load)
    ]
    assert {check.state for check in checks} == {"ok"}
    monkeypatch.setattr("os.getloadavg", lambda: (1.9, 0.0, 0.0))
    assert only(timing_checks.load()).state == "warning"


@pytest.mark.parametrize(("noise", "state"), [(0.005, "ok"), (0.2, "warning")])
def test_the_smallest_effect_follows_the_noise(noise: float, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    samples = {
        name: list(0.01 * np.exp(np.repeat(random.normal(0, noise, 40), 10))) for name in ("matmul", "bandwidth")
    }
    monkeypatch.setattr(timing_stability, "probe", lambda seconds: TimingStability("a machine", samples))
    *probes, least = timing_checks.noise()
    assert [check.detail.partition(":")[0] for check in probes] == ["matmul", "bandwidth"]
    assert least.state == state
    assert least.detail.startswith("about ")


SMI = """\
#!/bin/sh
case "$1" in
  --query-compute-apps*) echo 4242 ;;
  *) echo "0, 0x0000000000000040, 1980 MHz, [N/A]"; echo "1, 0x0000000000000001, 1980 MHz, 1200 MHz" ;;
esac
"""


def test_others_on_the_gpus_and_clocks_held_down_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = {check.name: check for check in timing_checks.gpus()}
    assert found["gpu processes"].detail == "others compute on the GPUs: 1"
    assert found["gpu 0 clock"].detail == "held down (reasons 0x0000000000000040)"
    assert (found["gpu 1 clock"].state, found["gpu 1 clock"].detail) == ("ok", "locked at 1200 MHz")
