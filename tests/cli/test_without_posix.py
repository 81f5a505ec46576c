"""A system without locks of files and limits of processes, such as Windows: every verb says so, in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pdebench.cli import VERBS

ASK = """
import contextlib, io, json, sys
sys.modules["fcntl"] = sys.modules["resource"] = None  # importing them fails
from pdebench.cli import main
said = {}
for verb in json.loads(sys.argv[1]):
    sys.argv = ["pdebench", *verb.split()]
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(told):
        try:
            main()
        except SystemExit as end:
            code = end.code
    said[verb] = (code, told.getvalue())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, tuple[int, str]]:
    asked = json.dumps([*VERBS, "run quickstart", "data list", "baseline save quickstart", "--version"])
    ran = subprocess.run([sys.executable, "-c", ASK, asked], capture_output=True, text=True, check=True)
    found: dict[str, tuple[int, str]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("verb", [*VERBS, "run quickstart", "data list", "baseline save quickstart"])
def test_every_verb_says_once_what_the_system_lacks(verb: str, said: dict[str, tuple[int, str]]) -> None:
    code, told = said[verb]
    assert code == 2
    assert told.startswith("error: pdebench runs on Linux and macOS, and the Python here has no fcntl and no resource")
    assert told.count("\n") == 1


def test_the_version_is_known_everywhere(said: dict[str, tuple[int, str]]) -> None:
    assert said["--version"][0] == 0
    assert said["--version"][1].startswith("pdebench ")
