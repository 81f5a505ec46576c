"""What is exported is text to whatever opens it: a spreadsheet, a terminal, LaTeX, Markdown, XML."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from pdebench.files.csv_export import as_it_was, as_text, to_csv
from pdebench.regress.formats import junit
from pdebench.regress.outcome import GateFinding, GateOutcome
from pdebench.regress.text import markdown
from pdebench.report import latex
from pdebench.report.frame import make_frame
from pdebench.report.papers import paper_tables
from pdebench.results.store import frame_of
from pdebench.results.tables import save_tables
from pdebench.stats.csv_text import read_csv

RECORD = {
    "suite": "tiny",
    "cell": "0123456789ab",
    "status": "done",
    "finished_at": "2026-01-01T00:00:00+00:00",
    "model.family": "DiT",
    "data.resolution": 32,
    "params": 3,
    "val_loss": 0.5,
    "kid_efficientnet_lite0": -0.25,
}
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "\uff1d1", "-DiT", "=cmd|' /C calc'!A0")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula_in_a_spreadsheet(tmp_path: Path, text: str) -> None:
    fields = ("suite", "message", "model.family", "model.size", "model.odd", "device", "mixer_implementation")
    frame = frame_of([RECORD | dict.fromkeys(fields, text), RECORD])
    save_tables(frame, pd.DataFrame(), tmp_path)
    for table in paper_tables(make_frame(frame)):
        (tmp_path / f"{table.name}.csv").write_bytes(table.contents()[".csv"])
    found = sorted(tmp_path.glob("*.csv"))
    assert len(found) > 2
    for path in found:
        for row in csv.reader(io.StringIO(path.read_text(), newline="")):
            for cell in row:
                assert not cell.lstrip().startswith(("=", "+", "@", "\uff1d")), (path.name, cell)
                assert not cell.startswith("-") or float(cell) < 0


def test_numbers_of_a_table_stay_numbers_and_texts_read_back(tmp_path: Path) -> None:
    odd = {"model.family": "-DiT", "model.odd": "-1.5", "message": "=1", "device": "'=1"}
    frame = frame_of([RECORD | odd, RECORD | {"model.odd": "x"}])
    save_tables(frame, pd.DataFrame(), tmp_path)
    table, _ = read_csv(tmp_path / "table.csv")
    assert list(table["kid_efficientnet_lite0"]) == [-0.25, -0.25]
    assert table.loc[2, ["model.family", "model.odd", "message", "device"]].tolist() == ["-DiT", "-1.5", "=1", "'=1"]
    plain = frame_of([RECORD, RECORD])
    assert to_csv(plain) == plain.to_csv(index=False)
    for number in ("-1.5", "+3", "-2e-5", ".5", "-.5"):
        assert as_text(number) == number
    for text in FORMULAS[:4]:
        assert as_it_was(as_text(text)) == text


def test_a_text_does_not_drive_the_terminal_that_shows_a_table(tmp_path: Path) -> None:
    frame = frame_of([RECORD | {"message": "a\x1b[31mb\u202e\r\nc", "model.family": "\x1b]0;x\x07"}])
    save_tables(frame, pd.DataFrame(), tmp_path)
    content = (tmp_path / "table.csv").read_text()
    for table in paper_tables(make_frame(frame)):
        content += "".join(table.contents()[suffix].decode() for suffix in (".csv", ".md", ".tex"))
    assert not set("\x1b\x07\r\u202e") & set(content)
    assert "a\\x1b[31mb\\u202e\\r\nc" in content


def test_a_line_of_latex_that_begins_with_a_bracket_is_no_length_of_the_line_before() -> None:
    rows = [["a"], ["[9cm]"], ["*"], ["\u540d"]]
    lines = latex.tabular(["x"], rows, numeric=[False]).splitlines()
    assert lines[-6:-2] == [r"a \\", r"{}[9cm] \\", r"{}* \\", r"{}[U+540D] \\"]


def outcome(text: str) -> GateOutcome:
    finding = GateFinding("cell", text, "", "failed", text)
    return GateOutcome(text, {"revision": text, "commit": ""}, "a" * 40, "here", [finding], notes=[text])


def test_xml_and_markdown_hold_any_text(tmp_path: Path) -> None:
    text = "a\x1b\x00\ufffe\ud800<b>|[x](http://y)`z`\u2028\n# h"
    junit(outcome(text), tmp_path / "junit.xml")
    found = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testcase")
    assert found is not None
    assert "a\\x1b\\x00" in str(found.get("classname"))
    told = markdown(outcome(text))
    assert not set("\x1b\x00\u2028") & set(told)
    assert "\n# h" not in told
    for markup in ("<b>", "[x]", "`z`", "|["):
        assert told.replace(f"\\{markup}", "").count(markup) == 0


def test_any_cell_of_a_frame_can_be_exported() -> None:
    odd: list[Any] = ["=1", -1.5, None, True, 3]
    assert to_csv(pd.DataFrame({"=x": odd})).splitlines() == ["'=x", "'=1", "-1.5", '""', "True", "3"]
