"""A family's cost by hand, held to what is counted. Importing this imports no torch.

Budgets (`budget.py`) and matched sizes (`suite/matching.py`) are worked out where a suite is read, from `Family.cost`.
A family of another package can have it wrong, or have changed its mixer since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pdebench.models import closed_form
from pdebench.models.backbone_cost import backbone_cost
from pdebench.suite.build import IMAGES, resolved

if TYPE_CHECKING:
    from pdebench.plan.counted import CountedCost

TOLERANCE = 1e-3
"""MACs by hand are within this share of those counted: a formula may leave a vector's product out, a whole one not."""


def disagreement(name: str, build: Mapping[str, Any], counted: CountedCost, params: int) -> str | None:
    """What to tell of a family's cost by hand, in one sentence, or None where it is what was counted.

    Args:
        name: FAMILY-SIZE/PATCH.
        build: further arguments of `create_model`.
        counted: what the counter found of that model.
        params: its parameters.
    """
    family = resolved(name, build).family.name
    try:
        said = cost_by_hand(name, build)
        agrees = said.params == params and abs(said.macs - counted.macs) <= TOLERANCE * counted.macs
    except Exception as error:  # it is another package's code: whatever it does, the run does not depend on it
        cause = error.__cause__ or error
        why = " ".join(f"{type(cause).__name__}: {cause}".split())
        return (
            f"family {family}: its cost by hand cannot be computed for {name} ({why}): budgets and matched sizes rest "
            "on it; mend its `cost`"
        )
    if agrees:
        return None
    opaque = [one for one in counted.uncounted if not one.startswith(("aten::", "pdebench::"))]
    remedy = f", or give it `handles` for what is not counted: {', '.join(opaque)}" if opaque else ""
    close = said.params != params and f"{said.params / 1e6:.4g}" == f"{params / 1e6:.4g}"
    by_hand, found = (f"{one:,}" if close else f"{one / 1e6:.4g} M" for one in (said.params, params))
    return (
        f"family {family}: its cost by hand says {by_hand} parameters and {said.macs / 1e9:.4g} GMACs for {name}, "
        f"counted are {found} and {counted.macs / 1e9:.4g}: budgets and matched sizes rest on the former; mend its "
        f"`cost`{remedy}"
    )


def idle_parameters(name: str, build: Mapping[str, Any]) -> int | None:
    """Parameters of `create_model(name, **build)` that never act, as its family has it; None where its cost fails."""
    try:
        return int(cost_by_hand(name, build).idle)
    except Exception:  # as above: a record does without it
        return None


def cost_by_hand(name: str, build: Mapping[str, Any]) -> closed_form.Cost:
    """What a model costs by its family's formulas."""
    family, dimensions, patch, options = resolved(name, build)
    images = {"input_size": 32} | {key: build[key] for key in IMAGES if key in build}
    return backbone_cost(family, dimensions, patch, options, **images)
