"""A package outside adds a family, a data set, a metric and a task, a file each; one suite runs them together."""

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
from pdebench.models.closed_form import Cost, none
from pdebench.models.registry import Family


def cost(place, options):
    return none(place, options) + Cost(0, place.tokens * place.width)


PLUS = Family(
    "Plus-DiT", "outside.mixer:Plus", "None-DiT times three", "", cost, colour="#123456", mark="M-1,-1H1L0,1Z",
    handles={"prim::PythonOp.Triple": lambda inputs, outputs: {"triple": outputs[0].size}},
)
""",
    "outside/mixer.py": """\
from torch.autograd import Function

from pdebench.models.mixers.none import PerToken


class Triple(Function):
    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


class Plus(PerToken):
    def forward(self, x, c):
        return Triple.apply(super().forward(x, c))
""",
    "outside/data.py": """\
from pdebench.data.source import ImageSet, Source


class Stripes(Source):
    name = "stripes"
    summary = "grey stripes, three pixels high for five wide"
    channels = 1
    dtype = "float32"

    def sides(self, config):
        return config.resolution, config.resolution * 5 // 3

    def check(self, config):
        self.check_no_path(config)

    def class_count(self, config):
        return None

    def load(self, config, split):
        import numpy as np

        (height, width), count = self.sides(config), {"train": 24, "validation": 8}[split]
        random = np.random.default_rng(count)
        draws = random.uniform(-1, 1, (count, 1, 1, width)) * random.uniform(0, 1, (count, 1, 1, 1))
        images = np.broadcast_to(draws, (count, 1, height, width)).astype(np.float32)
        return ImageSet(images, None, None, self.name, config.resolution, split, f"stripes-{split}-{height}")


STRIPES = Stripes()
""",
    "outside/task.py": """\
from pydantic import Field

from pdebench.metrics.metric import Score
from pdebench.tasks.task import Evaluation, Outputs, Task


class HalvesEvaluation(Evaluation):
    images: int = Field(default=8, gt=0, description="Held-out images to look at.")


class Halves(Task):
    name = "halves"
    summary = "the mean of either half of an image"
    evaluation = HalvesEvaluation
    scores = (Score("halves_error", "Error of halves", "positive"),)

    def outputs(self, classes, channels):
        return Outputs(None, "vector", 2)

    def learner(self, train):
        from outside.halves import HalvesLearner

        return HalvesLearner()


HALVES = Halves()
""",
    "outside/halves.py": """\
import numpy as np
import torch

from pdebench.files.picture import png_grid
from pdebench.metrics import quality
from pdebench.tasks.learner import Applied, Judged, Learner


def halves(x):
    return torch.stack([half.mean((1, 2, 3)) for half in x.chunk(2, -1)], 1)


def predicted(model, x):
    return model(x, torch.zeros(len(x), device=x.device), None)


class HalvesLearner(Learner):
    task = "halves"

    def to_model(self, images):
        return images.float()

    def draw(self, shape, generator, *, labelled):
        return torch.zeros(shape[0], device=generator.device)

    def loss(self, model, x, labels, draws):
        return (predicted(model, x) - halves(x)).square().mean()

    def validation_loss(self, model, images, labels, *, batch_size, device, world):
        return self.loss(model, images.to(device), None, None).item()

    def apply(self, model, evaluate, reference, held_out, *, weights, world, arithmetic, watch):
        x = torch.from_numpy(np.array(held_out.images[: evaluate.images]))
        with arithmetic:
            return Applied((x, predicted(model, x.to(world.device)).float().cpu()))

    def judge(self, applied, evaluate, reference, *, meaningful, device):
        x, found = applied.made
        painted = found[:, None, None, :].repeat_interleave(x.shape[-1] // 2, -1).expand(-1, 1, x.shape[-2], -1)
        columns = quality.evaluate(
            ["flatness"], painted, np.asarray(reference.images),
            reference_name="stripes", reference_checksum=reference.checksum, device=device,
        )
        picture = png_grid(((painted + 1) * 127.5).clamp(0, 255).byte(), columns=4)
        error = (found - halves(x)).abs().mean().item()
        return Judged({"halves_error": error, **columns}, {"samples.png": picture})
""",
    "outside/metric.py": """\
from pdebench.metrics.metric import Metric, Score

FLATNESS = Metric(
    "flatness",
    "how little neighbouring columns differ, as a share of what they may",
    (Score("flatness", "Flatness", "share", higher_is_better=True, spread="flatness_std"),),
    "outside.metric:flatness",
    minimum=2,
)


def flatness(samples):
    images = (samples.generated.float() + 1) / 2
    flat = 1 - images.diff(dim=3).abs().mean(dim=(1, 2, 3))
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
[pdebench.tasks]
halves = outside.task:HALVES
""",
}
SUITE = {
    "suite": "outside",
    "task": "halves",
    "data": {"name": "stripes", "resolution": 24, "flip": False},
    "model": {"size": "XXS", "patch": 8, "depth": 1, "width": 64},
    "train": {"steps": 30, "batch_size": 8, "lr": 2e-3, "ema": 0.5},
    "evaluate": {"images": 8},
    "measure": {"seconds": 0.01, "spatial": True, "operators": True},
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
    assert (table["halves_error"] < 0.5).all()
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
    assert f"Flatness against training FLOPs, 24 px. Highest: {best}, " in told
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
from pdebench.results.record import dtype_of
done = finished(make_frame(pdebench.load_results(Path({str(results)!r}))))
(flatness,) = [one for one in measures(done) if one.column == "flatness"]
print(flatness.title, flatness.lower, flatness.kind)
print(dtype_of("flatness"), dtype_of("flatness_std"), is_metric("flatness_std"), is_metric("flatness_mean"))
print(worse("flatness"), gated({{"flatness": 1.0}}), "flatness" in SCORES, "flatness_std" in SCORES)
(error,) = [one for one in measures(done) if one.column == "halves_error"]
print(error.title, error.lower, worse("halves_error"), dtype_of("halves_error"))
"""
    assert python(site, "-c", ask).splitlines() == [
        "Flatness False signed",
        "Float64 Float64 True False",
        "-1 {'flatness'} True False",
        "Error of halves True 1 Float64",
    ]


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
