"""What a model costs, counted once: the count is kept in the user's cache, where the cells of a sweep find it.

Counting runs on the meta device, which imports a compiler and a computer algebra that a cell has no other use for: more
than a second in each fresh process, and memory beside what the cell's model takes. So a sweep counts in one process of
its own before its first cell. An entry's name is a digest of all that decides its content: the model, PyTorch's
version, the source of the models and of the counter, and the source of whatever package the mixer comes from. What
cannot be kept, or has changed since it was written, is counted again: a cache costs time, never a run. Importing this
imports no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pdebench
from pdebench.data import registry
from pdebench.data.cache import cache_folder
from pdebench.errors import FOREIGN, ModelError
from pdebench.files.seal import read_sealed, write_sealed
from pdebench.models.package_code import digests_of
from pdebench.plan.counted import CountedCost
from pdebench.suite.build import build_of, resolved
from pdebench.suite.config import Cell
from pdebench.system.descendants import with_its_parent
from pdebench.tasks.registry import TASKS

_LARGEST = 2**20  # bytes of an entry, which has some hundred


def cached_cost(name: str, build: Mapping[str, Any]) -> tuple[CountedCost, int]:
    """Cost and parameters of `create_model(name, **build)`, from the cache where they were counted before."""
    from pdebench.plan.cost import count_by_name

    path = _entry(name, build)
    if path is not None and (found := _kept(path)) is not None:
        return CountedCost(found["by_kind"], found["uncounted"]), found["params"]
    cost, params = count_by_name(name, **build)
    if path is not None:
        keep_entry(path, {"by_kind": cost.by_kind, "uncounted": cost.uncounted, "params": params})
    return cost, params


def count_ahead(cells: Iterable[Cell]) -> None:
    """Count the models of some cells that are not in the cache, in another process.

    What cannot be counted there for another reason than its model is left to the cell, whose record says why.

    Raises:
        ModelError: a model that cannot be built, or another package's mixer that fails: in no cell could it train.
    """
    classes = cache(registry.class_count)
    builds = (build_of(cell, classes(cell.data, TASKS[cell.task].target)) for cell in cells)
    models = {_entry(name, build): (name, build) for name, build in builds}
    missing = [model for path, model in models.items() if path is not None and _kept(path) is None]
    if missing:
        command = [sys.executable, "-m", "pdebench.plan.cost_cache"]
        with contextlib.suppress(OSError):
            done = subprocess.run(
                command, input=json.dumps(missing), text=True, capture_output=True, check=False,
                preexec_fn=with_its_parent(),
            )  # fmt: skip
            if done.returncode == 0 and (refused := json.loads(done.stdout)):
                raise ModelError("; ".join(refused))


def _count_those_asked_for() -> list[str]:
    """Count the models that standard input brings; what is wrong with some of them, each said once."""
    refused: dict[str, None] = {}
    for one in json.load(sys.stdin):
        try:
            cached_cost(*one)
        except ModelError as error:
            refused[str(error)] = None
        except FOREIGN:  # whatever it is, the cell meets it too, and tells
            continue
    return list(refused)


def _entry(name: str, build: Mapping[str, Any]) -> Path | None:
    """Where a model's count is kept; None where it cannot be told what it depends on."""
    return entry_of(name, build, "counts")


def entry_of(name: str, build: Mapping[str, Any], room: str, *more: Any) -> Path | None:
    """Where what is found of a model is kept, in a folder of the cache.

    Args:
        name: FAMILY-SIZE/PATCH.
        build: further arguments of `create_model`.
        room: the folder's name.
        more: what else it depends on, plain data.

    Returns:
        The path; None where it cannot be told what it depends on.
    """
    try:
        family, dimensions, _, options = resolved(name, build)
        sources = digests_of(family)
        folder = cache_folder()
    except Exception:  # no such model, or a family that fails: counting it says so better. Or no home
        return None
    if None in sources:
        return None
    model = [name, dict(build), list(dimensions), options.model_dump(mode="json"), family.mixer, repr(family.shell)]
    about = [_source(), sources, [_version(one) for one in ("torch", "opt_einsum")], model, *more]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return folder / room / f"{digest}.json"


def _kept(path: Path) -> Any:
    """The entry at a path; None where it is absent, or not what was written there."""
    return read_sealed(path, _LARGEST)


def keep_entry(path: Path, found: Mapping[str, Any]) -> None:
    """Write what was found of a model."""
    with contextlib.suppress(OSError):  # a full or read-only disk costs the next cell a second
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, found)


def _version(distribution: str) -> str | None:
    with contextlib.suppress(PackageNotFoundError):
        return version(distribution)
    return None


@cache
def _source() -> str:
    """A digest of the code that a count depends on."""
    package = Path(pdebench.__file__).parent
    files = [
        *(file for room in ("ops", "models", "plan/counting") for file in sorted((package / room).rglob("*.py"))),
        package / "plan" / "cost.py",
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # what a package writes to its output, now or when it ends, is not the answer
    found_wrong = _count_those_asked_for()
    with os.fdopen(answer, "w") as out:
        json.dump(found_wrong, out)
