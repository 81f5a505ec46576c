"""The report's section on scaling, from made-up results whose law is known."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from synthetic import row

import pdebench.report
from pdebench.report import palette
from pdebench.report.frame import families_in, family_order, make_frame, noun_of
from pdebench.report.sections.scaling import ScalingSection, scaling_section
from pdebench.report.sections.scaling_comparison import in_one_sentence, sealed_tables
from pdebench.report.sections.scaling_headline import headlines
from pdebench.report.sections.summary import summarise
from pdebench.stats.comparison import comparisons
from pdebench.stats.runs import Columns, runs_of
from pdebench.stats.scaling import scale
from pdebench.stats.sealed import predict, write

HERE = Path(pdebench.report.__file__).parent
COLUMNS = Columns("params", "val_loss", "images_seen", "flops_train", "cell", ("model.family",))
FAMILIES = {"PDE-SSM-DiT": 0.20, "DiT": 0.21}


def results(sizes=5, budgets=4, seeds=1, noise=0.003, families=FAMILIES) -> pd.DataFrame:
    """Sizes x budgets x seeds of each family, as records have them."""
    random, rows = np.random.default_rng(0), []
    for family, floor in families.items():
        for flops in np.geomspace(1e14, 3e15, budgets):
            for n in np.geomspace(2e6, 6e7, sizes):
                for seed in range(seeds):
                    images = flops / (6 * n * 64)
                    loss = (floor + 60 * n**-0.4 + 25 * images**-0.4) * np.exp(noise * random.normal())
                    cell = hashlib.sha256(f"{family} {flops} {n} {seed}".encode()).hexdigest()[:12]
                    rows.append(
                        row(
                            family, 32, seed, cell=cell, params=n, images_seen=images, flops_train=flops,
                            val_loss=loss, fd_efficientnet_lite0=900 * loss,
                            **{"model.size": f"n{n:.0f}", "train.steps": round(images / 64)},
                        )
                    )  # fmt: skip
    return make_frame(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def section() -> ScalingSection:
    found = scaling_section(results())
    assert found is not None
    return found


def partial(section: ScalingSection, table: pd.DataFrame) -> str:
    """The partial alone, with the page's macros."""
    page = (HERE / "macros.html") if (HERE / "macros.html").exists() else HERE / "template.html"
    macros = page.read_text(encoding="utf-8").partition("<!doctype")[0]
    loader = jinja2.ChoiceLoader([jinja2.DictLoader({"macros.html": macros}), jinja2.FileSystemLoader(HERE)])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    order = family_order(table)
    families = [(name, order.index(name) % len(palette.SHAPES)) for name in families_in(table)]
    shown = environment.get_template("sections/scaling.html")
    return str(Markup(shown.render(section=section, families=families, shapes=palette.SHAPES, noun=noun_of(table))))


def test_the_findings_are_the_fitted_numbers(section):
    told = " ".join(finding.claim for finding in section.findings)
    assert "No exponent (alpha, beta, a and gamma) of DiT can be told from that of PDE-SSM-DiT." in told
    assert "times the FLOPs of PDE-SSM-DiT for a loss of" in told
    assert "loss falls as N^−" not in told, "a line of the table says it, for each of several families"
    assert [line.who for line in section.lines] == ["PDE-SSM-DiT", "DiT"]
    estimate, low, high = map(float, re.findall(r"[\d.]+", " ".join(section.lines[0].alpha)))
    assert low < estimate < high
    assert low < 0.4 < high
    assert any("one seed" in warning and warning.startswith("PDE-SSM-DiT and DiT:") for warning in section.warnings)


def test_the_law_of_one_family_alone_is_told_in_words():
    found = scaling_section(results(families={"DiT": 0.2}))
    assert found is not None
    told = " ".join(finding.claim for finding in found.findings)
    assert "DiT: loss falls as N^−" in told
    assert "held out and predicted from the smaller budgets, the largest had" in told


def test_the_partial_shows_every_number_and_chart(section):
    text = partial(section, results())
    assert '<section id="scaling" aria-labelledby="h-scaling">' in text
    for line in section.lines:
        for part in (*line.alpha, *line.held):
            assert part in text
    for figure in section.figures:
        assert f'id="chart-{figure.name}"' in text
        assert len(figure.rows) > 4
        assert figure.spec()["data"]["values"] == figure.rows
    names = [figure.name for figure in section.figures]
    assert (
        len(set(names)) == len(names) == 6
    )  # envelope, two profiles, residuals, compute for one loss; the Frechet distance's envelope
    assert "Fréchet distance (EfficientNet-Lite0)" in text


def test_a_table_that_is_no_study_of_scaling_has_no_section():
    assert scaling_section(results(sizes=1)) is None
    assert scaling_section(make_frame(pd.DataFrame([row("DiT", side, 0) for side in (32, 64)]))) is None
    assert scaling_section(make_frame(pd.DataFrame())) is None


def test_too_little_for_a_law_says_so_in_place_of_a_line():
    table = results(sizes=2, budgets=2, families={"DiT": 0.2})
    found = scaling_section(table)
    assert found is not None
    assert found.findings == []
    assert found.lines[0].alpha == ("—", "")
    assert "insufficient data: 4 runs" in partial(found, table)


def test_a_text_in_a_name_stays_a_text():
    table = results(sizes=2, budgets=2, families={"<script>alert(1)</script>": 0.2})
    found = scaling_section(table)
    assert found is not None
    assert "<script>" not in partial(found, table)


def test_cells_that_are_not_done_are_said(section):
    frame = results()
    frame.loc[[3, 4], ["status", "val_loss"]] = ["oom", None]
    found = scaling_section(frame)
    assert found is not None
    (warning,) = [warning for warning in found.warnings if "oom" in warning]
    assert "2 oom" in warning
    assert warning in partial(found, frame)


def test_a_group_without_many_of_its_losses_is_a_refusal_and_the_others_are_fitted():
    frame = results()
    rows = frame.index[frame["model.family"] == "DiT"]
    frame.loc[rows[::4], "val_loss"] = np.nan
    found = scaling_section(frame)
    assert found is not None
    shown = {line.who: line for line in found.lines}
    assert shown["PDE-SSM-DiT"].alpha[0] != "—"
    assert shown["DiT"].alpha[0] == "—"
    (refusal,) = [refusal for refusal in found.refusals if "5 of 20 rows" in refusal]
    assert refusal.startswith("DiT: ")
    assert "val_loss is missing" in partial(found, frame)


def test_a_cell_without_its_cost_is_left_out_by_name(section):
    frame = results()
    frame.loc[3, "flops_train"] = np.nan
    found = scaling_section(frame)
    assert found is not None
    assert any(f"cell {frame['cell'][3]}: flops_train is missing" in warning for warning in found.warnings)


def test_a_distance_that_few_cells_have_is_refused_by_its_name():
    frame = results()
    frame.loc[frame.index[::2], "fd_efficientnet_lite0"] = np.nan
    found = scaling_section(frame)
    assert found is not None
    assert all(title != "Fréchet distance (EfficientNet-Lite0)" for title, _ in found.groups)
    assert any("Fréchet distance" in refusal and "of 20 rows" in refusal for refusal in found.refusals)
    frame = results()
    frame.loc[[0], "fd_efficientnet_lite0"] = np.nan
    found = scaling_section(frame)
    assert found is not None
    assert any("Fréchet distance" in warning and str(frame["cell"][0]) in warning for warning in found.warnings)


def test_what_differs_among_the_runs_of_a_family_is_said():
    frame = results()
    frame["precision_used"] = np.where(frame["params"] > 2e7, "bf16", "fp32")
    found = scaling_section(frame)
    assert found is not None
    assert any("precision_used" in warning and "bf16 for 8" in warning for warning in found.warnings)


def test_runs_of_other_data_are_another_line():
    frame = results()
    frame["data_checksum"] = np.where(frame["params"] > 2e7, "a" * 64, "b" * 64)
    found = scaling_section(frame)
    assert found is not None
    assert "DiT, data aaaaaaaa" in [line.who for line in found.lines]


def test_families_are_held_against_the_subject(section):
    assert section.compared.reference == "PDE-SSM-DiT"
    (line,) = section.compared.lines
    assert line.who == "DiT"
    text = partial(section, results())
    for value, interval in line.values:
        assert value in text
        assert interval in text
    reference, hangs = section.compared.left_out
    assert (reference.who, hangs.who) == ("PDE-SSM-DiT", "DiT")
    assert {one[-1] for one in reference.lines} == {"—"}  # of its own compute it needs as much as it needs
    assert [one[0] for one in hangs.lines][:4] == [
        "nothing",
        "the smallest size",
        "the largest size",
        "the smallest budget",
    ]
    assert hangs.lines[0][1] == section.lines[1].alpha[0]
    assert "scaling-multiplier" in [figure.name for figure in section.figures]


def test_the_page_opens_with_the_multiples_of_compute(section):
    assert re.fullmatch(
        r"for one loss DiT needs 1\.\d+ \([\d.]+ to [\d.]+\) times the FLOPs of PDE-SSM-DiT", section.multiples
    )
    told = summarise(results(), multiples=section.multiples).opening
    assert len(told) == 3
    assert section.multiples in told[1]
    assert "peak memory" not in " ".join(told), "costs of sizes that the losses chose are no outcome"


def test_a_multiple_that_is_not_told_from_one_is_named_as_such():
    (found,) = comparisons([scale(one) for one in runs_of(results(), COLUMNS)], "PDE-SSM-DiT")
    assert in_one_sentence([replace(found, apart=True)]).endswith("PDE-SSM-DiT")
    assert "(DiT not told from as many" in in_one_sentence([replace(found, apart=False)])


def test_one_budget_is_one_line():
    table = results(budgets=1)
    found = scaling_section(table)
    assert found is not None
    assert found.figures == []
    text = partial(found, table)
    assert text.count("<p>") == 1
    assert "All 10 runs had one budget, 100 TFLOPs each" in text
    assert "<table>" not in text


def test_one_budget_in_each_setting_is_one_line_too():
    table = results(budgets=2)
    table["data.resolution"] = np.where(table["flops_train"] > 2e14, 64, 32)
    found = scaling_section(table)
    assert found is not None
    assert found.only.startswith("In each of 4 settings all runs had one budget (20 runs)")
    assert found.figures == []


def test_without_a_loss_there_is_no_section():
    assert scaling_section(results().assign(val_loss=np.nan)) is None


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A folder with a prediction that was made of all budgets but the largest, and the frame of all of them."""
    folder = tmp_path_factory.mktemp("results")
    table = results(budgets=5).assign(folder="")
    early = table[table["flops_train"] < 2.9e15]
    fits = [scale(runs, 40) for runs in runs_of(early, COLUMNS)]
    write(predict(fits, COLUMNS, [3e15, 1e16]), folder / "sealed_prediction.json")
    return folder, table


def test_what_was_predicted_stands_beside_what_came(sealed):
    folder, table = sealed
    (found,) = sealed_tables(table, {"": folder})
    assert found.problem == ""
    assert [(line[1], line[5]) for line in found.lines if line[2] == "3 P"] == [
        ("PDE-SSM-DiT", "inside"), ("DiT", "inside"),
    ]  # fmt: skip
    assert {line[5] for line in found.lines if line[2] == "10 P"} == {"not run yet"}
    assert "from 40 runs that stand here unchanged" in found.sentence


def test_a_prediction_of_other_rows_is_a_problem_and_no_table(sealed):
    folder, table = sealed
    changed = table.copy()
    changed.loc[0, "val_loss"] *= 1.01
    (found,) = sealed_tables(changed, {"": folder})
    assert "1 of the 20 rows of PDE-SSM-DiT that the prediction was made from" in found.problem
    assert found.lines == ()


def test_the_headline_is_by_loss_at_the_largest_budget_and_beside_the_reference(section):
    (headline,) = section.headlines
    assert [line.who for line in headline.lines] == ["PDE-SSM-DiT", "DiT"]  # of floors .20 and .21
    table = results()
    there = table[table["flops_train"] > 2e15]
    for line in headline.lines:
        rows = there[there["model.family"] == line.family]
        least = rows.loc[rows["val_loss"].idxmin()]
        assert (float(line.loss), line.size) == (pytest.approx(least["val_loss"], rel=1e-3), least["model.size"])
    assert headline.reference == "PDE-SSM-DiT"
    assert headline.lines[0].flops == ("1", "")
    times, interval = headline.lines[1].flops
    assert float(times) > 1, "the lower floor needs less"
    assert f"for one loss DiT needs {times} {interval} times the FLOPs" in section.multiples
    shown = partial(section, table)
    assert f"<strong>{headline.lines[0].loss}</strong>" not in shown, "it has no interval"
    assert 'a<span class="quiet also">of the profiles</span>' in shown


def test_gammas_of_laws_with_a_floor_and_without_do_not_stand_in_one_column():
    found = [scale(runs, 40) for runs in runs_of(results(), COLUMNS)]
    assert all(line.gamma[0] != "—" for line in headlines(found, [])[0].lines)
    law = found[0].envelope
    found[0] = replace(found[0], envelope=replace(law, floor=None if law.floor else law.gamma))
    assert all(line.gamma[0] == "—" for line in headlines(found, [])[0].lines)


def test_one_family_alone_has_no_headline():
    assert scaling_section(results(families={"DiT": 0.2})).headlines == []
