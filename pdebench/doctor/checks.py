"""`pdebench doctor`: what this machine has, what it lacks, and how to get it.

A check is a function that yields what it found; a new one is a line in `CHECKS`. Those that need torch come late, so
that the first lines stand at once. Importing this imports no torch.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pdebench.data.nouns import plural
from pdebench.doctor import timing_checks
from pdebench.doctor.check import Check
from pdebench.errors import FOREIGN, DataError, MetricError, TrackerError
from pdebench.installing import COMMANDS, DISTRIBUTION, install, install_extra
from pdebench.registry import Registry
from pdebench.system.machine import cpu_name
from pdebench.system.slots import cpu_variables

LITTLE_DISK = 5 * 2**30  # bytes: a few checkpoints of the largest models
FRAMES = 16  # of the clips that data sets are asked for
LITTLE_MEMORY = 2 * 2**30  # bytes: PyTorch, a small model and its optimiser


def python() -> Iterator[Check]:
    """The interpreter."""
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}", essential=True)


def packages() -> Iterator[Check]:
    """What pdebench itself requires, by its metadata, so that nothing is imported."""
    try:
        wanted = [text for text in requires(DISTRIBUTION) or () if "extra ==" not in text]
    except PackageNotFoundError:
        yield Check(
            "packages",
            "warning",
            "pdebench is not installed, so what it requires is not known",
            install_extra(),
        )
        return
    lacking = [text for text in wanted if not _installed(text)]
    if lacking:
        yield Check(
            "packages",
            "missing",
            f"{len(wanted) - len(lacking)} of {len(wanted)}; without {', '.join(lacking)}",
            install(*lacking),
            essential=True,
        )
    else:
        yield Check("packages", "ok", f"all {len(wanted)} that pdebench {version(DISTRIBUTION)} requires")


def _installed(requirement: str) -> bool:
    """Whether a requirement such as `torch>=2.9` is met, by the numbers that its version begins with."""
    name, _, least = requirement.partition(">=")
    try:
        return _numbers(version(name.strip())) >= _numbers(least)
    except PackageNotFoundError:
        return False


def _numbers(text: str) -> tuple[int, ...]:
    leading = re.match(r"[0-9.]*", text.strip())
    return tuple(int(part) for part in leading[0].split(".") if part) if leading else ()


def disk() -> Iterator[Check]:
    """Room in the current folder, where `pdebench run` puts its results."""
    from pdebench.run.preflight import LEAST_FREE

    here = Path.cwd()
    free = shutil.disk_usage(here).free
    found = f"{free / 2**30:.1f} GiB free in {here}"
    elsewhere = "free some, or pass --results with a folder on another disk"
    if free < LEAST_FREE:
        yield Check("disk", "missing", found, elsewhere, essential=True)
    elif free < LITTLE_DISK:
        yield Check("disk", "warning", found, elsewhere)
    elif not os.access(here, os.W_OK):
        yield Check("disk", "warning", f"{here} cannot be written to", "pass --results with a folder of yours")
    else:
        yield Check("disk", "ok", found)


def cpu() -> Iterator[Check]:
    """Cores, and the threads that a cell's process will have."""
    import psutil

    wanted = cpu_variables()["OMP_NUM_THREADS"]
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    found = f"{cpu_name()}, {plural(cores or 1, 'core')}, {plural(int(wanted), 'usable thread')}"
    chosen = os.environ.get("OMP_NUM_THREADS", wanted)
    if chosen != wanted:
        yield Check("cpu", "warning", f"{found}; OMP_NUM_THREADS={chosen} is set and stays", "unset OMP_NUM_THREADS")
    else:
        yield Check("cpu", "ok", found)


def memory() -> Iterator[Check]:
    """The host's memory."""
    import psutil

    found = psutil.virtual_memory()
    text = f"{found.available / 2**30:.1f} GiB free of {found.total / 2**30:.1f} GiB"
    if found.available < LITTLE_MEMORY:
        yield Check("memory", "warning", text, "end other work, or choose smaller models and batches")
    else:
        yield Check("memory", "ok", text)


def allocator() -> Iterator[Check]:
    """glibc's allocator, which by default returns memory at every step and faults it in again."""
    wanted = {name: value for name, value in cpu_variables().items() if name.startswith("MALLOC_")}
    other = {name: os.environ[name] for name in wanted if os.environ.get(name, wanted[name]) != wanted[name]}
    if platform.libc_ver()[0] != "glibc":
        yield Check("allocator", "ok", "not glibc's; nothing to tune")
    elif other:
        text = " ".join(f"{name}={value}" for name, value in other.items())
        yield Check("allocator", "warning", f"{text} is set and stays", f"unset {' '.join(other)}")
    elif all(name in os.environ for name in wanted):
        yield Check("allocator", "ok", "glibc, tuned to keep memory")
    else:
        yield Check(
            "allocator",
            "ok",
            "glibc; `pdebench run` tunes it for each cell on a CPU",
            "for scripts of yours: export " + " ".join(f"{name}={value}" for name, value in wanted.items()),
        )


def data() -> Iterator[Check]:
    """The data sets, none of which is decoded."""
    from pdebench.data.registry import SOURCES
    from pdebench.suite.config import DataConfig

    for name, source in SOURCES.at_hand().items():
        if name == "clips" and find_spec("av") is None:
            yield Check(
                "data clips",
                "missing",
                "video files need the package av; folders of frames do not",
                install_extra("video"),
            )
            continue
        if source.brought:
            yield Check(f"data {name}", "ok", f"your own {source.brought}, wherever data.path says")
            continue
        try:
            frames = FRAMES if "frames" in source.takes else None
            source.check(DataConfig(name=name, resolution=(source.resolutions or (64,))[0], frames=frames))
            yield Check(f"data {name}", "ok", source.summary)
        except DataError as error:
            yield Check(f"data {name}", "missing", *_with_command(str(error)))
        except FOREIGN as error:  # another package's, which may fail in any way
            yield Check(f"data {name}", "broken", f"its check fails with {type(error).__name__}: {error}")
    yield from _broken("data", SOURCES)


def added() -> Iterator[Check]:
    """Families and metrics of other packages; the built-in ones are always there."""
    from pdebench.metrics.registry import METRICS
    from pdebench.models.registry import FAMILIES
    from pdebench.tasks.registry import TASKS

    for title, registry in (("family", FAMILIES), ("metric", METRICS), ("task", TASKS)):
        for name, thing in registry.added().items():
            yield Check(f"{title} {name}", "ok", thing.summary)
        yield from _broken(title, registry)


_MEND = "mend or remove the package that it is of"


def _broken(title: str, registry: Registry[Any]) -> Iterator[Check]:
    """What other packages add in vain."""
    for name, why in registry.broken().items():
        also = " (added)" if name in registry.built_in else ""
        yield Check(f"{title} {name}{also}", "broken", why, _MEND)


def _with_command(message: str) -> tuple[str, str]:
    """An error's sentence, and the command or the key to set that it ends with."""
    for begins in (*COMMANDS, "set data."):
        what, found, rest = message.partition(begins)
        if found:
            return what.rstrip(" :"), found + rest
    return message, ""


def torch() -> Iterator[Check]:
    """PyTorch and the devices that it can use."""
    try:
        import torch
    except Exception as error:  # a broken build raises OSError as well as ImportError
        yield Check(
            "torch",
            "missing",
            f"cannot be imported ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})",
            "install it again: https://pytorch.org/get-started/locally",
            essential=True,
        )
        return
    yield Check("torch", "ok", torch.__version__, essential=True)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            precision = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: trains in fp32"
            text = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {precision}"
            yield Check(f"cuda:{index}", "ok", text)
    elif Path("/proc/driver/nvidia/version").exists():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        yield Check(
            "cuda",
            "warning",
            f"an NVIDIA driver is loaded, but PyTorch ({built}) finds no device it can use; cells run on the CPU",
            "install the PyTorch of your driver: https://pytorch.org/get-started/locally",
        )
    else:
        yield Check("cuda", "ok", "no device; cells run on the CPU")


def energy() -> Iterator[Check]:
    """The GPUs' counters of energy; a machine without a GPU has none to say anything of."""
    import torch

    from pdebench.system.energy import counter_of

    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        title = f"energy cuda:{index}"
        if counter_of(torch.device("cuda", index)) is not None:
            yield Check(title, "ok", "joules an image are measured")
        elif find_spec("pynvml") is None:
            yield Check(title, "missing", "joules an image need nvidia-ml-py", install_extra("energy"))
        else:
            yield Check(title, "missing", "no counter that can be read: records have no joules an image")


def metrics() -> Iterator[Check]:
    """The weights of the metrics' networks, none of which is fetched."""
    from pdebench.metrics import extractor_weights as of
    from pdebench.metrics.metric import DINOV2, EFFICIENTNET, I3D, INCEPTION
    from pdebench.metrics.registry import METRICS

    titles = {EFFICIENTNET: "efficientnet", INCEPTION: "inception", DINOV2: "dinov2", I3D: "i3d"}
    for extractor, title in titles.items():
        names = [metric.name for metric in METRICS.at_hand().values() if metric.extractor == extractor]
        title = f"weights {title}"
        try:
            weights = of.located(extractor, names[0])
        except MetricError as error:
            yield Check(title, "missing", *_with_command(str(error)))
            continue
        if weights is None and extractor == DINOV2:
            yield Check(
                title,
                "missing",
                f"not here, for {', '.join(names)}",
                f"fetch {of.DINOV2_URL} (1.2 GB) to {of.hub_copy(of.DINOV2_FILE)}, "
                f"or set {of.DINOV2_VARIABLE} to your copy",
            )
        elif weights is None and extractor == I3D:
            yield Check(
                title,
                "missing",
                f"not named, for {', '.join(names)}; it is TorchScript, a program that is run",
                f"fetch {of.I3D_FILE} from where you trust it, and set {of.I3D_VARIABLE} to its path",
            )
        elif weights is None:
            yield Check(
                title,
                "missing",
                f"not here yet, for {', '.join(names)}; the first run that needs them fetches them",
                f"without a network: set {of.INCEPTION_VARIABLE} to a copy of {of.INCEPTION_FILE}",
            )
        else:
            yield Check(title, "ok", ", ".join(names))


def kernels() -> Iterator[Check]:
    """The optional kernels, imported whether or not there is a device for them."""
    from pdebench.ops.kernels import KERNELS, find

    for what, kernel in KERNELS.items():
        found, title, families = find(what), f"kernel {what}", ", ".join(kernel.families)
        if found.function is None:
            detail = f"{kernel.package}: {found.reason}; a GPU then runs {kernel.instead} ({families})"
            yield Check(title, "missing", detail, kernel.remedy)
        else:
            yield Check(title, "ok", f"{kernel.package} {found.version}, used on a GPU ({families})")


def trackers() -> Iterator[Check]:
    """The optional experiment trackers, none of which is imported."""
    from pdebench.results.tracking import WRITERS, check

    for tracker in WRITERS:
        try:
            check([tracker])
            yield Check(f"tracker {tracker}", "ok", f"{version(tracker)}, for `pdebench run --track {tracker}`")
        except TrackerError:
            yield Check(
                f"tracker {tracker}",
                "missing",
                f"only `pdebench run --track {tracker}` needs it",
                install(tracker),
            )


CHECKS: tuple[Callable[[], Iterable[Check]], ...] = (
    python,
    packages,
    disk,
    cpu,
    memory,
    allocator,
    data,
    added,
    torch,
    energy,
    metrics,
    kernels,
    trackers,
)
QUIET: tuple[Callable[[], Iterable[Check]], ...] = (
    timing_checks.governor,
    timing_checks.turbo,
    timing_checks.load,
    timing_checks.throttling,
    timing_checks.gpus,
    timing_checks.noise,
)
"""For `--timing`: they take a while, and say nothing of whether a suite can run."""


def examine(*, timing: bool = False) -> Iterator[Check]:
    """Every check's findings, each as soon as it is there; none after a package that the others need is missing.

    With `timing` also whether the machine is quiet enough to be timed on, which takes 20 seconds.
    """
    for check in (*CHECKS, *(QUIET if timing else ())):
        for found in check():
            yield found
            if found.fatal and check in (packages, torch):
                return


def print_checks(checks: Iterable[Check]) -> bool:
    """Print each check as it comes, then whether a suite can run, which is returned."""
    from rich.console import Console
    from rich.text import Text

    from pdebench.terminal.prose import say

    console = Console(highlight=False)
    fatal, broken, lacking = [], [], 0
    for check in checks:
        style = "red" if check.fatal else "green" if check.state == "ok" else "yellow"
        say(console, check.detail, lead=Text.assemble((f"{check.state:<7}  ", style), f"{check.name:<21}  "))
        if check.remedy:  # from further left, so that most commands and addresses fit a line
            say(console, check.remedy, "dim" if check.state == "ok" else "cyan", lead=" " * 9)
        fatal += [check.name] if check.fatal else []
        broken += [f"{check.name} ({check.detail})"] if check.state == "broken" else []
        lacking += check.state == "missing" and not check.fatal
    if broken:
        console.print()
        say(console, f"Broken, and not to be used: {'; '.join(broken)}.", "yellow")
    if fatal:
        console.print(Text(f"\nNo suite can run before this is mended: {', '.join(fatal)}.", "red"))
    else:
        optional = f"; {lacking} optional part{'s are' if lacking != 1 else ' is'} missing" if lacking else ""
        console.print(Text(f"\nA suite can run{optional}. Start with `pdebench run quickstart`.", "green"))
    return not fatal
