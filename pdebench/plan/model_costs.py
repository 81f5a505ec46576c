"""What many models cost, counted and traced over the cores of this machine: every process takes every n-th of them.

Nothing is computed there, so that a model takes one core and holds the interpreter all the time: threads would wait for
each other. Importing this imports no torch.
"""

from __future__ import annotations

import gc
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from subprocess import DEVNULL, PIPE

from pdebench.plan.kept import Model, ModelCosts, Pass, keep, kept
from pdebench.system.descendants import with_its_parent
from pdebench.system.slots import available_cores

# To begin costs a process about what six models do.
FEWEST = 8


Share = list[tuple[Model, set[Pass]]]
Said = Callable[[int, int], None]


def model_costs(wanted: Mapping[Model, set[Pass]], said: Said = lambda done, of: None) -> dict[Model, ModelCosts]:
    """Count each model, and trace it with each batch; what was found before is read from the cache.

    Other processes help where that pays; what becomes of them changes how long this takes, and nothing else.

    Args:
        wanted: models and their batches.
        said: told about how many of how many models that are not in the cache are done.

    Raises:
        ModelError: a model that cannot be built, or another package's mixer that fails.
    """
    before = {model: found for model, passes in wanted.items() if (found := kept(model, passes)) is not None}
    models = [(model, passes) for model, passes in wanted.items() if model not in before]
    return before | (_found(models, said) if models else {})


def _found(models: Share, said: Said) -> dict[Model, ModelCosts]:
    said(0, len(models))
    models = list(models)
    random.Random(0).shuffle(models)  # a grid goes round its families, and every n-th may be the same slow ones
    processes = max(1, min(len(available_cores()), len(models) // FEWEST))
    with ExitStack() as stack:
        helpers = [stack.enter_context(_helper(models[i::processes])) for i in range(1, processes)]
        found = _look_at(models[::processes], lambda done: said(min(done * processes, len(models)), len(models)))
        for helper in helpers:
            found |= _answer(helper)
    return found | _look_at([(model, passes) for model, passes in models if model not in found])


@contextmanager
def _helper(share: Share) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks at a share of the models; it ends with this at the latest."""
    command = [sys.executable, "-c", f"from {__name__} import help_out; help_out()"]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, preexec_fn=with_its_parent())
    try:
        assert process.stdin is not None
        with suppress(OSError):  # it is dead already
            pickle.dump(share, process.stdin)
            process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _answer(helper: subprocess.Popen[bytes]) -> dict[Model, ModelCosts]:
    """What a helper found, or nothing where it failed: then the same is done here, and fails here in its own words."""
    assert helper.stdout is not None
    answer = helper.stdout.read()
    found: dict[Model, ModelCosts] = pickle.loads(answer) if helper.wait() == 0 else {}
    return found


def help_out() -> None:
    """Look at the models that standard input brings, and write what was found to standard output."""
    with redirect_stdout(sys.stderr):  # what a family prints is not the answer
        found = _look_at(pickle.load(sys.stdin.buffer))
    pickle.dump(found, sys.stdout.buffer)


def _look_at(share: Share, said: Callable[[int], None] = lambda done: None) -> dict[Model, ModelCosts]:
    gc.disable()  # as in `listing.py`: there is next to no garbage
    try:
        from pdebench.plan.cost import count_one_block
        from pdebench.plan.trace import trace_step

        found = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a kernel that is absent matters to those who run the model
            for model, passes in share:
                build = dict(model.build)
                cost, params = count_one_block(model.name, **build)
                steps = {one: trace_step(model.name, **one._asdict(), **build) for one in sorted(passes)}
                found[model] = ModelCosts(cost, params, steps)
                keep(model, found[model])
                said(len(found))
        return found
    finally:
        gc.enable()
