"""Sessions: quickstart, tests, fast, wheel, chaos, slurm, gpu, lint, bench, docs.

One environment for all: torch is several GB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.default_venv_backend = "none"  # the shared environment below stands in for nox's one a session
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "env"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")


def prepare(session: nox.Session) -> None:
    """Make the shared environment, or bring it up to date when pyproject.toml changed."""
    stamp = ENVIRONMENT / "pyproject.sha256"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        if not (BIN / "python").exists():
            session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
        session.log("installing pdebench and torch into .nox/env, once for all sessions (minutes, about 7 GB)")
        python(session, "-m", "pip", "install", "--quiet", "-e", ".[data,features,dev]")
        stamp.write_text(wanted)


def python(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run the shared environment's python."""
    session.run(str(BIN / "python"), *arguments, external=True, env=env)


def browser(session: nox.Session) -> None:
    """The report's tests open it in Chromium: the system's, the distribution's package, or Playwright's own."""
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "update", "-qq", external=True, silent=True)
        session.run("apt-get", "install", "-y", "-qq", "chromium", external=True, silent=True)
    else:
        python(session, "-m", "playwright", "install", "chromium")


@nox.session
def quickstart(session: nox.Session) -> None:
    """Train and compare three backbones on real images; ends with runs/quickstart/report.html."""
    prepare(session)
    python(session, "-m", "pdebench", "run", "quickstart", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, on two cores; arguments after `--` go to pytest."""
    prepare(session)
    browser(session)
    python(session, "-m", "pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


# A part of every room, and the wheel's run from end to end: a Python or a machine shows here what it lacks.
FAST = (
    "anchors",
    "suite",
    "ops/test_pde_mixing.py",
    "ops/test_selective_scan.py",
    "models/test_backbone.py",
    "train/test_loop.py",
    "results/test_records.py",
    "stats/test_comparison.py",
    "test_errors.py",
    "test_wheel.py",
)


@nox.session
def fast(session: nox.Session) -> None:
    """A part of the tests, in under two minutes; what is deprecated and used by pdebench is an error."""
    prepare(session)
    strict = ("-o", "filterwarnings=error::DeprecationWarning:pdebench")
    python(session, "-m", "pytest", "-n", "2", *strict, *(f"tests/{name}" for name in FAST), *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and run it outside the checkout, installed in an environment of its own; `tests` does so too."""
    prepare(session)
    python(session, "-m", "pytest", "tests/test_wheel.py", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Attack runs and all that they read for half an hour: nothing may be lost, believed wrongly, let out or hang.

    And what is too much for each run of the tests: the rest of the matrices that they have representatives of.
    """
    prepare(session)
    python(session, "-m", "pytest", "tests", "-m", "chaos or exhaustive", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """The tests that need a real SLURM, on one of this machine; as root on Debian its packages are installed."""
    prepare(session)
    if os.geteuid() == 0 and shutil.which("apt-get") and not shutil.which("slurmctld"):
        session.run("apt-get", "update", "-qq", external=True, silent=True)
        packages = ("slurmctld", "slurmd", "slurm-client", "munge")
        session.run("apt-get", "install", "-y", "-qq", *packages, external=True, silent=True)
    python(session, "-m", "pytest", "tests/slurm", *session.posargs, env={"PDEBENCH_SLURM": "1"})


def _suite(name: str, mode: str = "compile") -> tuple[str, ...]:
    """The arguments that run a suite of speed on a GPU, in bf16, in a mode of `train.compile`."""
    results = f"runs/{name}_{mode}_gpu" if mode != "compile" else f"runs/{name}_gpu"
    how = ("--set", "train.precision=bf16", "--set", f"train.compile={mode}")
    return ("pdebench", "run", name, "--results", results, *how)


# Seconds that a step may take, and what is run of it: in order of worth, since a GPU is often lent for minutes. What a
# step has measured when its time is up is kept.
GPU_STEPS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (120, ("pytest", "-q", "tests/ops/test_kernels_on_gpu.py", "-k", "cpu_does or takes_the_kernel")),
    (240, ("benchmarks", "--only", "operator,block", "--json", "results/bench_gpu.json")),
    (60, ("benchmarks.kernels",)),
    (240, _suite("resolution")),
    (180, _suite("latency")),
    (120, ("pytest", "-q", "tests/train/test_graphs_on_gpu.py")),
    (180, _suite("latency", "compile-graphs")),
    (180, _suite("resolution", "compile-graphs")),
    (180, ("benchmarks", "--only", "roads,loop,peer", "--json", "results/bench_gpu_more.json")),
    (1800, ("pytest",)),
    (1800, _suite("mixers")),
    (1800, _suite("pixels")),
)


@nox.session
def gpu(session: nox.Session) -> None:
    """On a CUDA machine: the kernels, the benchmarks, the suites of speed and all tests; elsewhere nothing."""
    prepare(session)
    asked = "import torch; print('yes' if torch.cuda.is_available() else 'no')"
    if "yes" not in str(session.run(str(BIN / "python"), "-c", asked, external=True, silent=True)):
        session.log("there is no CUDA device here: nothing was run, nothing was measured")
        return
    failed = []
    for seconds, step in GPU_STEPS:
        if step == ("pytest",):
            browser(session)
        command = ["timeout", "--signal=INT", str(seconds), str(BIN / "python"), "-m", *step]
        # 4: some cell ran out of memory or time, which its record says; 124: the step's time was up
        try:
            session.run(*command, external=True, success_codes=[0, 4, 124], env={"PDEBENCH_SPECTRAL_KERNELS": "1"})
        except CommandFailed:
            failed.append(" ".join(step))
    if failed:
        session.error(f"failed: {'; '.join(failed)}")


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint and type checks."""
    prepare(session)
    python(session, "-m", "ruff", "format", "--check", ".")
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """Speed as ratios within one process; arguments after `--` go to `python -m benchmarks`."""
    prepare(session)
    python(session, "-m", "benchmarks", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in build/docs; any warning is an error, and nothing is fetched."""
    prepare(session)
    where = ("-c", "docs", "-d", "build/doctrees", ".", "build/docs")
    python(session, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", *where, *session.posargs)
    session.log("open build/docs/index.html")
