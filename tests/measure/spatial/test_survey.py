"""A whole backbone surveyed: what the numbers say of each family, in words too, and what is read back of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from representatives import few

from pdebench.errors import ModelError, ResultsError
from pdebench.measure.spatial.explanations import describe
from pdebench.measure.spatial.findings import LARGEST_MAP, Survey, read_survey
from pdebench.measure.spatial.survey import survey
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.registry import FAMILIES
from pdebench.tasks.generation.learner import GenerationLearner

CONVOLUTIONS = ("PDE-SSM-DiT", "GFNet-DiT", "S4D-DiT", "None-DiT")  # linear: the same at all times


def built(family: str, **changes: object) -> Backbone:
    """256 tokens, one layer, narrow."""
    torch.manual_seed(0)
    size = {"input_size": 16, "depth": 1, "width": 64, "num_classes": None, "in_channels": 3, **changes}
    return create_model(f"{family}-XXS/1", **size).eval()  # type: ignore[arg-type]


@cache
def untrained(family: str) -> Survey:
    return survey(built(family), learner=GenerationLearner())


@pytest.mark.parametrize("family", few(sorted(FAMILIES)))
def test_every_family_is_surveyed_on_256_tokens(family: str) -> None:
    found = untrained(family)
    (mixer,) = found.mixers
    assert found.grid == (16, 16)
    assert len(mixer.field_map) == len(mixer.field_map[0]) == 16
    assert sum(map(sum, mixer.field_map)) == pytest.approx(1, abs=1e-3)
    assert mixer.field.area_50 <= mixer.field.area_95 <= 256
    assert len(mixer.lengths) == len(GenerationLearner.times)
    if family in CONVOLUTIONS:
        assert max(mixer.lengths) == pytest.approx(min(mixer.lengths), rel=1e-3, abs=1e-9)  # type: ignore[type-var]
    assert (mixer.physics is not None) == (family == "PDE-SSM-DiT")
    # adaLN-zero: at initialisation the network passes tokens through, whatever the mixer does
    assert found.network.field.area_95 == 1
    # and a head of zeros answers nothing; ZigMa's lets the positions be seen
    assert (found.network.shift_error is not None) == (family == "ZigMa")


def test_untrained_attention_shows_no_locality_a_pde_does_and_the_numbers_say_so() -> None:
    attention, pde = (untrained(family).columns() for family in ("DiT", "PDE-SSM-DiT"))
    assert abs(attention["spatial_locality"] or 1) < 0.1
    assert (pde["spatial_locality"] or 0) > 0.5
    assert (attention["spatial_area_95"] or 0) > 128
    assert (pde["spatial_area_95"] or 256) < 16
    assert (attention["spatial_mixing_length"] or 0) > 10 * (pde["spatial_mixing_length"] or 1)
    told = {family: dict(describe(untrained(family), gated=True)) for family in ("DiT", "PDE-SSM-DiT", "None-DiT")}
    assert told["DiT"]["locality"].startswith("none")
    assert told["PDE-SSM-DiT"]["locality"].startswith("local")
    assert told["None-DiT"]["locality"] == "none: no token sees another"
    assert told["PDE-SSM-DiT"]["measured response"].startswith("agrees")
    assert 0 < (pde["spatial_wrapped"] or 0) < 0.5
    assert "of a token's mass comes back over an edge" in told["PDE-SSM-DiT"]["learned physics"]
    assert "learned physics" not in told["DiT"]


def test_the_bidirectional_scan_is_a_line_and_attention_is_round() -> None:
    assert (untrained("Mamba-DiT").columns()["spatial_isotropy"] or 1) < 0.1
    assert "a line" in dict(describe(untrained("Mamba-DiT"), gated=True))["shape"]
    assert "along the rows in every layer" in dict(describe(untrained("Mamba-DiT"), gated=True))["shape"]
    assert (untrained("DiT").columns()["spatial_isotropy"] or 0) > 0.8


def test_open_gates_let_tokens_see_each_other_and_positions_break_the_symmetry() -> None:
    model = built("PDE-SSM-DiT", depth=2, width=32)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.2 * torch.randn_like(parameter))
    found = survey(model, learner=GenerationLearner()).network
    assert (found.field.length or 0) > 0.01
    assert (found.field.own_share or 1) < 1
    assert (found.shift_error or 0) > 1e-2
    torch.nn.init.zeros_(model.pos_embed)
    assert (survey(model, learner=GenerationLearner()).network.shift_error or 1) < 1e-4


def test_a_survey_is_the_same_each_time_and_large_maps_are_pooled() -> None:
    model = built("GFNet-DiT", input_size=40, width=8)
    images = torch.rand(2, 3, 40, 40)
    found = survey(model, images, learner=GenerationLearner())
    assert found == survey(model, images, learner=GenerationLearner())
    assert len(found.mixers[0].field_map) == LARGEST_MAP
    assert found.mixers[0].field.area_95 > LARGEST_MAP**2  # counted on the grid itself


def test_a_diverged_model_is_refused() -> None:
    model = built("None-DiT")
    torch.nn.init.constant_(model.blocks[0].mixer.proj.weight, torch.nan)  # type: ignore[union-attr, arg-type]
    with pytest.raises(ModelError, match="layer 0 answers with numbers that are not finite"):
        survey(model, learner=GenerationLearner())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found, path = untrained("PDE-SSM-DiT"), tmp_path / "spatial.json"
    assert read_survey(path) is None
    path.write_text(found.model_dump_json())
    assert read_survey(path) == found
    assert path.stat().st_size < 30_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda found: found["mixers"][0].update(field_map=[[0.0] * 4000]), "field_map"),
        (lambda found: found["mixers"][0].update(secret="os.system"), "secret"),
        (lambda found: found["mixers"][0]["field"].update(length="far"), "length"),
        (lambda found: found.update(mixers=found["mixers"] * 300), "mixers"),
        (lambda found: found["mixers"][0]["frequency"].update(gain=[1e400]), "Infinity"),
    ],
)
def test_a_damaged_survey_is_refused_in_a_sentence(tmp_path: Path, change, why: str) -> None:  # type: ignore[no-untyped-def]
    found = untrained("None-DiT").model_dump()
    change(found)
    path = tmp_path / "spatial.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ResultsError, match=why) as refusal:
        read_survey(path)
    assert "\n" not in str(refusal.value)
    assert "delete its cell's record.json" in str(refusal.value)
