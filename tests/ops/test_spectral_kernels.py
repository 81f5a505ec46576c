"""The kernels in Fourier space, in Triton's interpreter, against float64: values and all gradients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

FORMS = ("full", "diagonal", "isotropic", "off")
# fp16 and bf16 round the matrix, and the tokens before each of four products, once
TOLERANCE = {"fp32": 5e-6, "fp16": 2e-3, "rounded": 1.5e-2}
SOME = [
    {"side": 16, "programs": 3, "batch": 5},
    {"side": 8, "options": {"diffusion": "diagonal", "states": 3}},
    {"side": 16, "options": {"diffusion": "isotropic", "reaction": False, "selective": True, "states": 2}},
    {"side": 16, "options": {"diffusion": "off", "padding": "zero"}},
    {"side": 8, "options": {"convection": False, "padding": "zero", "selective": True}},
    {"side": 16, "options": {"diffusion": "off", "convection": False, "reaction": False}},
    {"side": 32, "channels": 9, "options": {"states": 2}},
    {"side": 64, "channels": 3, "batch": 1},
    {"side": 32, "channels": 2, "batch": 1, "options": {"padding": "zero", "selective": True}},
    {"side": 16, "kind": "fp16", "channels": 19},
    {"side": 16, "kind": "rounded", "options": {"selective": True}},
    {"side": 32, "kind": "rounded"},
]
ALL = [
    {"side": side, "kind": kind, "channels": 9, "options": {**terms, "padding": padding, "selective": selective}}
    for side, kind, padding, selective, terms in product(
        (8, 16, 32, 64),
        TOLERANCE,
        ("periodic", "zero"),
        (False, True),
        [{"diffusion": form, "states": states} for form, states in product(FORMS, (1, 3))]
        + [{"convection": False}, {"reaction": False}, {"convection": False, "reaction": False, "states": 2}],
    )
    if side * (2 if padding == "zero" else 1) <= 64
]
EXTREME = [
    {"side": 8, "extreme": factor, "options": {"padding": padding, "selective": True}}
    for factor, padding in product((1e4, -1e4, 1e30, -1e30, 1e-30), ("periodic", "zero"))
]


def interpreted(cases: list[dict[str, Any]]) -> list[dict[str, float]]:
    command = [sys.executable, str(Path(__file__).with_name("interpreted_kernels.py"))]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wrong(cases: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str, float]]:
    return [
        (case, name, difference)
        for case, found in zip(cases, interpreted(cases), strict=True)
        for name, difference in found.items()
        if not difference <= TOLERANCE[case.get("kind", "fp32")]
    ]


FILTERS = [
    {"filter": True, "side": 16, "programs": 3, "batch": 5},
    {"filter": True, "side": 8, "kind": "fp16"},
    {"filter": True, "side": 32, "channels": 9, "kind": "rounded"},
    {"filter": True, "side": 64, "channels": 3, "batch": 1},
]


def test_so_are_those_of_a_free_symbol() -> None:
    assert not wrong(FILTERS)


def test_values_and_gradients_are_the_operators() -> None:
    assert not wrong(SOME)


@pytest.mark.exhaustive
def test_values_and_gradients_are_the_operators_whatever_is_on() -> None:
    assert not wrong(ALL)


def test_no_parameters_make_nan() -> None:
    assert not wrong(EXTREME)
