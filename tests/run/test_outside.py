"""The guide's package adds a family, a data set, a metric and a task; one suite runs them together."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from runs import without_report

from pdebench.files.yaml_source import read_text

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"
FILES = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
"""The files that the guide shows, by their names."""
SUITE = read_text(FILES.pop("outside.yaml"), "outside.yaml").data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, as pip would install it, and the suite beside it."""
    folder = tmp_path_factory.mktemp("outside")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    about = f"outside-{project['version']}.dist-info"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in project["entry-points"].items()
    )
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    made = {"outside/__init__.py": "", f"{about}/METADATA": metadata, f"{about}/entry_points.txt": points}
    for name, text in {**FILES, **made}.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "outside.yaml").write_text(json.dumps(SUITE))
    return folder


def python(site: Path, *command: object, installed: bool = True, status: int = 0) -> str:
    path = [*([str(site / "site")] if installed else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PDEBENCH_CACHE": str(site / "cache")}
    asked = [sys.executable, *map(str, command)]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def results(site: Path) -> Path:
    """What one run of the suite leaves."""
    asked = without_report("run", site / "outside.yaml", "--results", site / "out")
    python(site, *asked[1:])
    return site / "out"


def test_one_suite_runs_them_together_to_a_report(site: Path, results: Path) -> None:
    ask = (
        "import sys, pdebench; from pathlib import Path; from pdebench.report.html import write_report;"
        "from pdebench.results.curves import load_curves; folder = Path(sys.argv[1]);"
        "table = pdebench.load_results(folder); table.to_csv(folder / 'read.csv');"
        "write_report(table, load_curves(folder, table), folder)"
    )
    python(site, "-c", ask, results)
    table = pd.read_csv(results / "read.csv")
    assert table["status"].tolist() == ["done", "done"]
    assert table["flatness"].between(0, 1).all()
    assert (table["flatness_std"] > 0).all()
    assert table["metric_source"].str.fullmatch("flatness [0-9a-f]{12}").all()
    assert "metric_extractor" not in table
    assert (table["halves_error"] < 0.5).all()
    assert (table["halves_ms"] > 0).all()
    assert (table["train_loss"] < table["val_loss"].max() + 1).all()
    assert table["tokens"].tolist() == [3 * 5] * 2
    plus, none = (table[table["model.family"] == name].iloc[0] for name in ("Plus-DiT", "None-DiT"))
    assert plus["macs_forward"] - none["macs_forward"] == 15 * 64  # of its own function, an element each
    assert "Triple" not in plus["macs_uncounted"]
    assert pd.isna(plus["warnings"])
    best = table.loc[table["flatness"].idxmax(), "model.family"]
    page = (results / "report.html").read_text()
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    told = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
    assert f"Flatness At 24 px: {best} " in told
    assert "Flatness against training FLOPs" not in told, "two points are no chart"
    place = re.search(r'<path d="M-1,-1H1L0,1Z" fill="var\(--family-(\d+)\)"/></svg>Plus-DiT', page)
    assert place is not None
    assert f"--family-{place[1]}:#123456;" in page


def test_the_metric_has_its_direction_in_findings_tables_and_the_gate(site: Path, results: Path) -> None:
    ask = f"""
import pdebench
from pathlib import Path
from pdebench.tasks.scores import SCORES, is_metric
from pdebench.regress.metrics import gated, worse
from pdebench.report.compare import measures
from pdebench.report.frame import finished, make_frame
from pdebench.results.record import dtype_of, without_timings
done = finished(make_frame(pdebench.load_results(Path({str(results)!r}))))
(flatness,) = [one for one in measures(done) if one.column == "flatness"]
print(flatness.title, flatness.lower, flatness.kind)
print(dtype_of("flatness"), dtype_of("flatness_std"), is_metric("flatness_std"), is_metric("flatness_mean"))
print(worse("flatness"), gated({{"flatness": 1.0}}), "flatness" in SCORES, "flatness_std" in SCORES)
(error,) = [one for one in measures(done) if one.column == "halves_error"]
print(error.title, error.lower, worse("halves_error"), dtype_of("halves_error"))
from pdebench.regress.metrics import costs
took = {{"halves_ms": 1.0, "halves_error": 2.0}}
print(costs(took), gated(took) == set(took), without_timings(took))
"""
    assert python(site, "-c", ask).splitlines() == [
        "Flatness False signed",
        "Float64 Float64 True False",
        "-1 {'flatness'} True False",
        "Error of halves True 1 Float64",
        "{'halves_ms': 0.0} True {'halves_error': 2.0}",
    ]


def test_its_checkpoint_is_inspected_and_draws_no_samples(site: Path, results: Path) -> None:
    checkpoint = next(results.glob("cells/*/checkpoint.safetensors"))
    assert "3 x 5 tokens" in python(site, "-m", "pdebench", "inspect", checkpoint)
    said = python(site, "-m", "pdebench", "sample", checkpoint, "--out", site / "s.png", status=2)
    assert " ".join(said.split()) == f"error: {checkpoint} was trained for the task halves, which draws no samples"


def test_list_doctor_and_plan_know_them(site: Path) -> None:
    listed = {what: python(site, "-m", "pdebench", "list", what) for what in ("data", "metrics", "tasks")}
    assert "grey stripes, three pixels high" in " ".join(listed["data"].split())
    assert "how little neighbouring columns differ" in " ".join(listed["metrics"].split())
    assert "the mean of either half of an image" in listed["tasks"]
    checks = json.loads(python(site, "-m", "pdebench", "doctor", "--json"))["checks"]
    states = {check["name"]: check["state"] for check in checks}
    assert [states[name] for name in ("family Plus-DiT", "data stripes", "metric flatness", "task halves")] == [
        "ok"
    ] * 4
    assert "Plus-DiT" in python(site, "-m", "pdebench", "plan", "--device", "h200", site / "outside.yaml")


def test_a_table_loads_where_the_package_is_not_installed(site: Path, results: Path) -> None:
    ask = (
        f"import pdebench; from pathlib import Path; table = pdebench.load_results(Path({str(results)!r}));"
        "print(table['flatness'].dtype, len(table))"
    )
    assert python(site, "-c", ask, installed=False) == "Float64 2\n"


def test_a_suite_that_names_none_of_them_imports_none(site: Path, results: Path) -> None:
    plain = {
        **SUITE,
        "task": "generation",
        "data": {"name": "latents", "resolution": 16},
        "evaluate": {},
        "grid": {"model.family": ["DiT"]},
    }
    (site / "plain.yaml").write_text(json.dumps(plain))
    ask = (
        "import sys, pdebench; from pdebench.tasks.scores import is_metric;"
        f"pdebench.load_suite({str(site / 'plain.yaml')!r}).cells();"
        "print(is_metric('params'), is_metric('val_loss'), [name for name in sys.modules if 'outside' in name])"
    )
    assert python(site, "-c", ask) == "False False []\n"
