"""A gate's outcome for CI: GitHub's annotations and job summary, and JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from pdebench.errors import printable
from pdebench.files.disk import append_plain
from pdebench.regress.metrics import words
from pdebench.regress.outcome import GateFinding, GateOutcome
from pdebench.regress.text import markdown
from pdebench.results.store import write_atomic

XML = b"<?xml "  # how a file of JUnit's begins
SUMMARY = "GITHUB_STEP_SUMMARY"  # the file that a step's Markdown is appended to


def github(outcome: GateOutcome, steps: Sequence[str] = ()) -> str:
    """Workflow commands for standard output; the job's summary is appended to its file, or follows them."""
    lines = list(_annotations(outcome))
    summary = os.environ.get(SUMMARY)
    if summary is None:
        return "\n".join([*lines, markdown(outcome, steps)])
    with append_plain(Path(summary), follow=True) as file:
        file.write(markdown(outcome, steps).encode())
    return "\n".join(lines)


def _annotations(outcome: GateOutcome) -> Iterator[str]:
    levels = {
        "regression": "error",
        "changed": "error",
        "failed": "error",
        "missing": "warning",
        "inconclusive": "warning",
    }
    for finding in outcome.findings:
        level = "notice" if finding.improved and finding.verdict == "pass" else levels.get(finding.verdict)
        if level is not None:
            title = _escaped(f"{finding.verdict if level != 'notice' else 'better'}: {_name(finding)}", ",:")
            yield f"::{level} title={title}::{_escaped(f'{finding.cell}: {finding.message}')}"
    yield f"::notice title=pdebench regress::{_escaped(outcome.sentence())}"


def _escaped(text: str, more: str = "") -> str:
    """Text in a workflow command: without this a cell's name could end it and begin another."""
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + more else char for char in text)


def junit(outcome: GateOutcome, path: Path) -> None:
    """Write JUnit XML: what is worse failed, what did not run or is missing is an error, inconclusive is skipped."""
    kinds = {
        "regression": "failure",
        "changed": "failure",
        "failed": "error",
        "missing": "error",
        "inconclusive": "skipped",
    }
    found = [kinds.get(finding.verdict) for finding in outcome.findings]
    suite = ElementTree.Element(
        "testsuite",
        name=_legal(f"pdebench regress {outcome.suite}"),
        tests=str(len(found)),
        failures=str(found.count("failure")),
        errors=str(found.count("error")),
        skipped=str(found.count("skipped")),
        time=f"{outcome.seconds:.1f}",
    )
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="verdict", value=outcome.verdict)
    ElementTree.SubElement(properties, "property", name="exit_code", value=str(outcome.exit_code))
    for finding, kind in zip(outcome.findings, found, strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname=_legal(finding.cell), name=_legal(_name(finding)))
        if kind is not None:
            word = "inconclusive: " if kind == "skipped" else ""  # readers of JUnit show no type of what was skipped
            ElementTree.SubElement(case, kind, message=_legal(word + finding.message), type=finding.verdict)
        else:
            ElementTree.SubElement(case, "system-out").text = _legal(finding.message)
    ElementTree.indent(suite)
    write_atomic(path, ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _name(finding: GateFinding) -> str:
    return words(finding.column) or finding.kind


def _legal(text: str) -> str:
    """Text that XML can hold, with what it cannot written out."""
    return printable(text).replace("\ufffe", "?").replace("\uffff", "?")
