"""A package outside this one adds a family, a data set and a metric, one file each; one suite runs them together."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from runs import without_report

FILES = {
    "outside/__init__.py": "",
    "outside/family.py": """\
from pdebench.models.closed_form import none
from pdebench.models.registry import Family

PLUS = Family(
    "Plus-DiT", "outside.mixer:Plus", "as None-DiT", "", none, colour="#123456", mark="M-1,-1H1L0,1Z"
)
""",
    "outside/mixer.py": """\
from pdebench.models.mixers.none import PerToken


class Plus(PerToken):
    def forward(self, x, c):
        return 3 * super().forward(x, c)
""",
    "outside/data.py": """\
from pdebench.data.source import ImageSet, Source


class Stripes(Source):
    name = "stripes"
    summary = "stripes of any width"

    def check(self, config):
        self.check_no_path(config)

    def class_count(self, config):
        return None

    def load(self, config, split):
        import numpy as np

        side, count = config.resolution, {"train": 24, "validation": 8}[split]
        draws = np.random.default_rng(count).integers(0, 256, (count, 3, 1, side))
        images = np.broadcast_to(draws, (count, 3, side, side)).astype(np.uint8)
        return ImageSet(images, None, None, self.name, side, split, f"stripes-{split}-{side}")


STRIPES = Stripes()
""",
    "outside/metric.py": """\
from pdebench.metrics.metric import Metric, Score

FLATNESS = Metric(
    "flatness",
    "how little neighbouring rows differ, as a share of what they may",
    (Score("flatness", "Flatness", "share", higher_is_better=True, spread="flatness_std"),),
    "outside.metric:flatness",
    minimum=2,
)


def flatness(samples):
    images = samples.generated.float() / 255
    flat = 1 - images.diff(dim=2).abs().mean(dim=(1, 2, 3))
    return {"flatness": flat.mean(), "flatness_std": flat.std()}
""",
    "outside-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n",
    "outside-1.0.dist-info/entry_points.txt": """\
[pdebench.families]
Plus-DiT = outside.family:PLUS
[pdebench.data]
stripes = outside.data:STRIPES
[pdebench.metrics]
flatness = outside.metric:FLATNESS
""",
}
SUITE = {
    "suite": "outside",
    "data": {"name": "stripes", "resolution": 16, "flip": False},
    "model": {"size": "XXS", "patch": 8, "depth": 1, "width": 64},
    "train": {"steps": 4, "batch_size": 4, "lr": 2e-2},
    "evaluate": {"samples": 4, "nfe": 2, "batch_size": 4, "metrics": ["flatness"]},
    "measure": {"seconds": 0.01},
    "execution": {"isolation": "warm"},
    "grid": {"model.family": ["Plus-DiT", "None-DiT"]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, as pip would install it, and the suite beside it."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in FILES.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "outside.yaml").write_text(json.dumps(SUITE))
    return folder


def python(site: Path, *command: object, installed: bool = True) -> str:
    path = [*([str(site / "site")] if installed else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PDEBENCH_CACHE": str(site / "cache")}
    asked = [sys.executable, *map(str, command)]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(site: Path) -> Path:
    """What one run of the suite leaves."""
    asked = without_report("run", site / "outside.yaml", "--results", site / "out")
    python(site, *asked[1:])
    return site / "out"


def test_one_suite_runs_them_together_to_a_report(site: Path, results: Path) -> None:
    ask = (
        "import sys, pdebench; from pathlib import Path; from pdebench.report.html import write_report;"
        "from pdebench.results.store import load_curves; folder = Path(sys.argv[1]);"
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
    best = table.loc[table["flatness"].idxmax(), "model.family"]
    page = (results / "report.html").read_text()
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    told = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
    assert f"Flatness At 16 px: {best} " in told
    assert f"Flatness against training FLOPs, 16 px. Highest: {best}, " in told
    place = re.search(r'<path d="M-1,-1H1L0,1Z" fill="var\(--family-(\d+)\)"/></svg>Plus-DiT', page)
    assert place is not None
    assert f"--family-{place[1]}:#123456;" in page


def test_the_metric_has_its_direction_in_findings_tables_and_the_gate(site: Path, results: Path) -> None:
    ask = f"""
import pdebench
from pathlib import Path
from pdebench.metrics.scores import SCORES, is_metric
from pdebench.regress.metrics import gated, worse
from pdebench.report.compare import measures
from pdebench.report.frame import finished, make_frame
from pdebench.results.record import dtype_of
done = finished(make_frame(pdebench.load_results(Path({str(results)!r}))))
(flatness,) = [one for one in measures(done) if one.column == "flatness"]
print(flatness.title, flatness.lower, flatness.kind)
print(dtype_of("flatness"), dtype_of("flatness_std"), is_metric("flatness_std"), is_metric("flatness_mean"))
print(worse("flatness"), gated({{"flatness": 1.0}}), "flatness" in SCORES, "flatness_std" in SCORES)
"""
    assert python(site, "-c", ask).splitlines() == [
        "Flatness False signed",
        "Float64 Float64 True False",
        "-1 {'flatness'} True False",
    ]


def test_list_doctor_and_plan_know_them(site: Path) -> None:
    listed = {what: python(site, "-m", "pdebench", "list", what) for what in ("data", "metrics")}
    assert "stripes of any width" in listed["data"]
    assert "how little neighbouring rows differ" in " ".join(listed["metrics"].split())
    checks = json.loads(python(site, "-m", "pdebench", "doctor", "--json"))["checks"]
    states = {check["name"]: check["state"] for check in checks}
    assert [states[name] for name in ("family Plus-DiT", "data stripes", "metric flatness")] == ["ok"] * 3
    assert "Plus-DiT" in python(site, "-m", "pdebench", "plan", "--device", "h200", site / "outside.yaml")


def test_a_table_loads_where_the_package_is_not_installed(site: Path, results: Path) -> None:
    ask = (
        f"import pdebench; from pathlib import Path; table = pdebench.load_results(Path({str(results)!r}));"
        "print(table['flatness'].dtype, len(table))"
    )
    assert python(site, "-c", ask, installed=False) == "Float64 2\n"


def test_a_suite_that_names_none_of_them_imports_none(site: Path, results: Path) -> None:
    plain = {**SUITE, "data": {"name": "latents", "resolution": 16}, "evaluate": {}, "grid": {"model.family": ["DiT"]}}
    (site / "plain.yaml").write_text(json.dumps(plain))
    ask = (
        "import sys, pdebench; from pdebench.metrics.scores import is_metric;"
        f"pdebench.load_suite({str(site / 'plain.yaml')!r}).cells();"
        "print(is_metric('params'), is_metric('val_loss'), [name for name in sys.modules if 'outside' in name])"
    )
    assert python(site, "-c", ask) == "False False []\n"
