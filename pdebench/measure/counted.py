"""What a model costs, counted once: the count is kept in the user's cache, where the cells of a sweep find it.

Counting runs on the meta device, which imports a compiler and a computer algebra that a cell has no other use for: more
than a second in each fresh process, and memory beside what the cell's model takes. So a sweep counts in one process of
its own before its first cell. An entry's name is a digest of all that decides its content: the model, PyTorch's
version and the source of the models and of the counter. Importing this imports no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pdebench
from pdebench.build import build_of
from pdebench.config import Cell
from pdebench.data import registry
from pdebench.data.cache import cache_folder
from pdebench.store import write_json

if TYPE_CHECKING:
    from pdebench.measure.cost import Cost


def counted(name: str, build: Mapping[str, Any]) -> tuple[Cost, int]:
    """Cost and parameters of `create_model(name, **build)`, from the cache where they were counted before."""
    from pdebench.measure.cost import Cost, count_by_name

    path = _entry(name, build)
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # damaged: counted again
        found = json.loads(path.read_text())
        return Cost(_counts(found["by_kind"]), _counts(found["uncounted"])), int(found["params"])
    cost, params = count_by_name(name, **build)
    with contextlib.suppress(OSError):  # a full or read-only disk costs the next cell a second, nothing more
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"by_kind": cost.by_kind, "uncounted": cost.uncounted, "params": params})
    return cost, params


def count_ahead(cells: Iterable[Cell]) -> None:
    """Count the models of some cells that are not in the cache, in another process.

    What cannot be counted there is left to the cell, whose record says why.
    """
    classes = cache(registry.class_count)
    models = {_entry(name, build): (name, build) for name, build in (build_of(c, classes(c.data)) for c in cells)}
    missing = [model for path, model in models.items() if not path.exists()]
    if missing:
        command = [sys.executable, "-m", "pdebench.measure.counted"]
        subprocess.run(command, input=json.dumps(missing), text=True, capture_output=True, check=False)


def _entry(name: str, build: Mapping[str, Any]) -> Path:
    about = [_source(), version("torch"), name, dict(build)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "counts" / f"{digest}.json"


def _counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(number) for name, number in found.items()}


@cache
def _source() -> str:
    """A digest of the code that a count depends on."""
    package = Path(pdebench.__file__).parent
    measure = package / "measure"
    files = [
        *sorted((package / "models").rglob("*.py")),
        *sorted((measure / "counting").glob("*.py")),
        measure / "cost.py",
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    for one in json.load(sys.stdin):
        with contextlib.suppress(Exception):  # whatever it is, the cell meets it too, and tells
            counted(*one)
