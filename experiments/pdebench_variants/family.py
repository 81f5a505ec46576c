"""The family that a suite names, and its cost by hand. Importing this imports no torch."""

from __future__ import annotations

from pdebench.models import closed_form
from pdebench.models.closed_form import Cost, linear
from pdebench.models.mixer_context import MixerContext
from pdebench.models.options import AttentionOptions
from pdebench.models.registry import Family
from pdebench.ops import macs
from pdebench_variants.options import VariantOptions


def attends(layer: int, options: VariantOptions) -> bool:
    """Whether a layer, counted from 0, has attention in the PDE's place."""
    return options.attention_every > 0 and (layer + 1) % options.attention_every == 0


def cost(place: MixerContext, options: VariantOptions) -> Cost:
    """That of PDE-SSM-DiT, a further operator for each step, 10 d parameters of a convolution, d of a norm."""
    d, n = place.width, place.tokens
    if attends(place.layer, options):
        return closed_form.attention(place, AttentionOptions())
    found = closed_form.pde(place, options)
    operator = closed_form.pde(place, options.model_copy(update={"gate": False, "selective": False}))
    operator += linear(d, d, n).times(-2)  # without its projections
    found += operator.times(options.steps - 1)
    if options.convolution:
        found += Cost(10 * d, macs.convolution(n * d, 9))
    return found + (Cost(d, macs.norm(n * d)) if options.norm else Cost(0, 0))


VARIANT = Family(
    "PDE-Variant",
    mixer="pdebench_variants.mixer:mixer_of",
    summary="PDE-SSM-DiT with what is tried on it; at its defaults PDE-SSM-DiT",
    paper="ours",
    cost=cost,
    options=VariantOptions,
    heads=1,
    axes=(2,),
    cycle=lambda axes, options: options.attention_every or 1,
    conditioned_options=("selective",),
)
