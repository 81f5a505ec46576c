"""Sessions: `nox -s quickstart`, `tests`, `lint`, `bench`. All share one environment: torch is several GB."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

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
        session.log("installing pdebench and torch into .nox/env, once for all sessions (minutes, about 6 GB)")
        python(session, "-m", "pip", "install", "--quiet", "-e", ".[data,features,dev]")
        stamp.write_text(wanted)


def python(session: nox.Session, *arguments: str) -> None:
    """Run the shared environment's python."""
    session.run(str(BIN / "python"), *arguments, external=True)


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
    """Train and compare three backbones on real images; ends with results/quickstart/report.html."""
    prepare(session)
    python(session, "-m", "pdebench", "run", "quickstart", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite; arguments after `--` go to pytest."""
    prepare(session)
    browser(session)
    python(session, "-m", "pytest", *session.posargs)


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
