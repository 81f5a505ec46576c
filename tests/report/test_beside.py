"""Every family stands beside the subject with an interval that holds for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from test_report import page, section

from pdebench.report.comparisons import comparisons
from pdebench.report.frame import finished, make_frame
from pdebench.report.sections.beside import Beside, BesideLine, beside

SHARES = {"PDE-SSM-DiT": 1.0, "GFNet-DiT": 0.95, "DiG": 1.0, "DiT": 1.06, "S4D-DiT": 1.001}
SETS = {"emoji": 0.4, "photographs": 0.26}


def results(
    shares: Mapping[str, float] = SHARES, seeds: Sequence[int] = (1, 2, 3), *, noise: float = 0.002
) -> pd.DataFrame:
    """Families whose losses are so many times the subject's, on two sets."""
    rows = []
    for family, share in shares.items():
        for name, loss in SETS.items():
            for seed in seeds:
                rng = np.random.default_rng([seed, *map(ord, family + name)])
                value = loss * share * (1 + noise * rng.normal())
                rows.append(synthetic.row(family, 32, seed) | {"data.name": name, "val_loss": value})
    frame = pd.DataFrame(rows)
    return frame.assign(cell=[f"{number:012x}" for number in range(len(frame))])


def section_of(frame: pd.DataFrame) -> Beside | None:
    done = finished(make_frame(frame))
    return beside(done, comparisons(done))


def lines_of(frame: pd.DataFrame) -> dict[str, BesideLine]:
    found = section_of(frame)
    assert found is not None
    return {line.family: line for line in found.lines}


def test_who_is_ahead_and_who_behind_is_told_over_all_comparisons() -> None:
    found = section_of(results())
    assert found is not None
    assert found.places == ("emoji, 32 px", "photographs, 32 px")
    assert (found.lines[0].family, found.lines[-1].family) == ("GFNet-DiT", "DiT")
    verdicts = {line.family: line.verdict for line in found.lines}
    assert verdicts == {
        "GFNet-DiT": "ahead", "DiG": "not distinguishable", "PDE-SSM-DiT": "", "S4D-DiT": "not distinguishable",
        "DiT": "behind",
    }  # fmt: skip
    assert "GFNet-DiT (−5" in found.claim
    assert "2 cannot be told" in found.claim


def test_the_page_says_it_in_its_first_sentences(tmp_path: Path) -> None:
    html = page(results(), tmp_path)
    lede = html[html.index('class="lede"') : html.index("<nav")]
    assert "is ahead of PDE-SSM-DiT" in lede
    assert "corrected for 4 comparisons" in lede
    assert "Bonferroni" in section(html, "beside")


def test_where_chance_alone_orders_them_nobody_is_told_apart() -> None:
    found = section_of(results(dict.fromkeys([*SHARES, "Wave-DiT", "DiCo", "ZigMa", "DiS"], 1.0), noise=0.03))
    assert found is not None
    assert not any(line.sure for line in found.lines)
    assert "nobody is told to be ahead of PDE-SSM-DiT" in found.claim


def test_a_family_that_ran_on_one_set_alone_says_so() -> None:
    frame = results()
    frame = frame[(frame["model.family"] != "DiG") | (frame["data.name"] == "emoji")]
    line = lines_of(frame)["DiG"]
    assert line.verdict.endswith("over 1 of 2")
    assert line.values[1] == ("—", "")


def test_two_common_seeds_give_no_interval() -> None:
    frame = results()
    frame = frame[(frame["model.family"] != "DiG") | (frame["train.seed"] < 3)]
    line = lines_of(frame)["DiG"]
    assert (line.interval, line.sure) == ("", False)
    assert "under 3 seeds" in line.verdict


@pytest.mark.parametrize("frame", [results(seeds=(1, 2)), results({"PDE-SSM-DiT": 1.0, "DiT": 1.1, "DiG": 1.2}),
                                   results({"DiT": 1.1, "DiG": 1.2, "ZigMa": 1.0, "DiS": 1.1})])  # fmt: skip
def test_few_seeds_or_families_or_no_subject_give_no_section(frame: pd.DataFrame) -> None:
    assert section_of(frame) is None


def test_where_higher_is_better_more_is_ahead() -> None:
    frame = results()
    frame = frame.assign(task="classification", top1=1 - frame["val_loss"])
    found = section_of(frame)
    assert found is not None
    assert not found.lower
    best = found.lines[0]
    assert (best.family, best.verdict) == ("GFNet-DiT", "ahead")
    assert best.change.startswith("+")
