"""Mixers of another package that do what they should not: one sentence that names them, before anything is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import NAME, install
from torch import Tensor
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import ModelError, PdebenchError
from pdebench.models.closed_form import Cost
from pdebench.plan.cost import count_by_name, count_one_block
from pdebench.plan.trace import trace_step
from pdebench.run import inspection
from pdebench.suite.load import load_suite

WHOSE = "family 'Made-Up': its mixer made_up_package:Made "
BUILD: dict[str, Any] = {"input_size": 32, "depth": 1}


def nothing(self: Any) -> None:
    """Make no layers."""


def no_such_layer(self: Any) -> None:
    self.layers = self.place.no_such_thing


def add_text(self: Any, u: Any) -> Any:
    return u + "text"


def of_64_bits(self: Any, u: Tensor) -> Tensor:
    return u @ torch.ones(8, 8, dtype=torch.float64, device=u.device)


@pytest.mark.parametrize("count", [count_by_name, count_one_block])
@pytest.mark.parametrize(
    ("mix", "gives"),
    [
        (lambda self, u: u.transpose(1, 2), "(2, 1024, 8)"),
        (
            lambda self, u: u.mean((2, 3), keepdim=True),
            "(2, 1, 128)",
        ),  # it could be added to the tokens, at every place
        (lambda self, u: u.mean(0, keepdim=True), "(1, 64, 128)"),
    ],
)
def test_a_mixer_that_changes_the_shape_is_told_what_it_gave(
    count: Callable[..., Any], mix: Callable[[Any, Tensor], Tensor], gives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, nothing, mix)
    with pytest.raises(ModelError) as refused:
        count(NAME, **BUILD)
    assert str(refused.value).startswith(f"{WHOSE}gives {gives} of tokens (2, 64, 128): it must keep their shape, (B, ")


@pytest.mark.parametrize(
    ("build", "mix", "says"),
    [
        (no_such_layer, add_text, r"AttributeError: .*no_such_thing"),
        (nothing, add_text, "TypeError: unsupported operand"),
        (nothing, of_64_bits, "RuntimeError: .*expected"),
        (nothing, lambda self, u: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_whatever_a_mixer_raises_is_one_sentence(
    build: Callable[[Any], None], mix: Callable[[Any, Tensor], Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, build, mix)
    with pytest.raises(ModelError, match=rf"^{WHOSE}cannot be counted on PyTorch's meta device: {says}"):
        count_by_name(NAME, **BUILD)
    with pytest.raises(ModelError, match=rf"^{WHOSE}cannot be traced, forward and backward, on .*fake tensors: {says}"):
        trace_step(NAME, batch_size=2, **BUILD)


def test_memory_that_runs_out_is_no_fault_of_a_mixer(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(self: Any, u: Tensor) -> Tensor:
        raise MemoryError

    install(monkeypatch, nothing, too_much)
    with pytest.raises(MemoryError):
        count_by_name(NAME, **BUILD)


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (lambda place, options: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda place, options: None, "TypeError: it gives None, which is no Cost"),
    ],
)
@pytest.mark.parametrize("rests_on_it", ["match: {by: macs, to: DiT}", "budget: {train_flops: 1e12}"])
def test_a_suite_that_rests_on_a_cost_by_hand_that_fails_is_refused(
    rests_on_it: str, cost: Callable[..., Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, nothing, lambda self, u: u, cost)
    steps = "" if rests_on_it.startswith("budget") else "steps: 1, "
    (tmp_path / "costly.yaml").write_text(
        "suite: costly\ndata: {name: latents, resolution: 16}\nmodel: {family: Made-Up, size: XXS, patch: 4}\n"
        f"train: {{{steps}batch_size: 2, lr: 1e-3}}\n{rests_on_it}\n"
    )
    with pytest.raises(PdebenchError, match=rf"family 'Made-Up': its cost by hand fails: {says}; mend its `cost`"):
        load_suite(tmp_path / "costly.yaml")


def test_to_inspect_a_faulty_mixer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nothing, lambda self, u: u.transpose(1, 2))
    with pytest.raises(ModelError, match=rf"^{WHOSE}gives "):
        inspection.build(None, NAME, None, 0)


def test_a_plan_says_where_a_cost_by_hand_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, nothing, lambda self, u: u, lambda place, options: Cost(0, 5 * place.tokens * place.width))
    (tmp_path / "wrong.yaml").write_text(
        "suite: wrong\ndata: {name: latents, resolution: 16}\nmodel: {size: XXS, patch: 4, depth: 1}\n"
        "train: {steps: 1, batch_size: 2, lr: 1e-3}\n"
        "grid: {model.family: [Made-Up, None-DiT], train.seed: [0, 1]}\n"
    )

    def plan(*more: str) -> str:
        command = ["plan", str(tmp_path / "wrong.yaml"), "--device", "h100", *more]
        done = CliRunner().invoke(app, command, env={"COLUMNS": "80", "TERM": "dumb"})
        assert done.exit_code == 0, done.output
        return done.stdout

    shown = " ".join(plan().split())
    assert shown.count("its cost by hand says") == 1
    assert "family Made-Up: its cost by hand says" in shown
    assert "budgets and matched sizes rest on the former; mend its `cost`." in shown
    (warning,) = json.loads(plan("--json"))["warnings"]
    assert f"{warning}." in shown
    assert "warnings" not in json.loads(plan("--json", "--set", "grid.model.family=[None-DiT]"))


FAMILIES = """\
from pdebench.models.closed_form import none
from pdebench.models.registry import Family

TURNED, RAISING, UNREADABLE, GONE = (
    Family(mixer.partition(":")[2], f"faulty.{mixer}", "", "", none)
    for mixer in ("turned:Turned", "turned:Raising", "unreadable:Unreadable", "turned:Gone")
)
"""
TURNED = """\
import atexit
import os
from pdebench.models.mixers.none import PerToken

atexit.register(print, "a word at the end")


class Turned(PerToken):
    def forward(self, x, c):
        os.write(1, b"a word on standard output")
        return super().forward(x, c).transpose(1, 2)


class Raising(PerToken):
    def forward(self, x, c):
        return super().forward(x, c).mix(x)
"""
SUITE = """\
suite: faulty
data: {name: noise, resolution: 16}
model: {size: XXS, patch: 4, depth: 1}
train: {steps: 1, batch_size: 2, lr: 1e-3}
grid:
  model.family: [None-DiT, FAMILY]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed package of faulty mixers, as pip would leave it."""
    about = tmp_path / "site" / "faulty-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    points = (f"{name} = faulty:{name.upper()}\n" for name in ("Turned", "Raising", "Unreadable", "Gone"))
    (about / "entry_points.txt").write_text(f"[pdebench.families]\n{''.join(points)}")
    package = tmp_path / "site" / "faulty"
    package.mkdir()
    (package / "__init__.py").write_text(FAMILIES)
    (package / "turned.py").write_text(TURNED)
    (package / "unreadable.py").write_text("def forward(self, x, c)\n")
    return tmp_path / "site"


def refused(site: Path, family: str, verb: str) -> str:
    """What a verb says of a suite with a family, which it refuses."""
    (site.parent / "faulty.yaml").write_text(SUITE.replace("FAMILY", family))
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pdebench", verb, "faulty.yaml"],
        cwd=site.parent, env={**os.environ, "PYTHONPATH": path, "PDEBENCH_CACHE": str(site.parent / "cache")},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    return done.stderr.partition("error: ")[2]


def test_a_run_refuses_a_faulty_mixer_before_anything_is_trained(site: Path) -> None:
    said = refused(site, "Turned, Raising", "run")
    assert said == (
        "family 'Turned': its mixer faulty.turned:Turned gives (2, 128, 16) of tokens (2, 16, 128): it must keep their "
        "shape, (B, N, D); family 'Raising': its mixer faulty.turned:Raising cannot be counted on PyTorch's meta "
        "device: AttributeError: 'Tensor' object has no attribute 'mix' (turned.py, line 16)\n"
    )
    assert not list(site.parent.glob("runs/*/cells/*/record.json"))


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("Unreadable", "SyntaxError: expected ':' (unreadable.py, line 1)"),
        ("Gone", "AttributeError: module 'faulty.turned' has no attribute 'Gone'"),
    ],
)
def test_a_suite_whose_mixer_cannot_be_imported_is_not_valid(site: Path, family: str, says: str) -> None:
    said = refused(site, family, "validate")
    assert said.startswith(f"faulty.yaml:6: grid.model.family[1]: family '{family}': its mixer faulty.")
    assert f"cannot be imported: {says}" in said
