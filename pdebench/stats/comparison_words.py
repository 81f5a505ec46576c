"""A comparison of scaling laws in sentences: what is compared, what came out, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from pdebench.data.nouns import plural
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import BY_LAW, ScalingComparison
from pdebench.stats.multiplier import POINTS, Multiplier
from pdebench.stats.sealed import Outcome, SealedPrediction
from pdebench.stats.sensitivity import NOTHING, Sensitivity

VERDICTS = (
    "Intervals are 95% each, from resamples of the runs in which families share the draws of a size, budget and seed. "
    "Verdicts take all comparisons of a table together (Benjamini and Hochberg, 5%)."
)


def compute_sentence(one: ScalingComparison) -> str:
    """How many times the compute it needs, whether that is told from 1, and whether it grows."""
    if one.compute is None:
        return f"{one.family} against {one.reference}: no multiple of compute, {one.why}."
    found = one.compute
    sure = "" if one.apart else ", which with all comparisons of the table taken together is not told from as many"
    by = "" if one.by == BY_LAW else f", by {one.by}"
    return (
        f"{one.family} needs {_times(found.middle)} times the FLOPs of {one.reference} for a loss of "
        f"{found.loss[POINTS // 2]:.3g}{sure}{by}. {_course(found, one.grows)}"
    )


def images_sentence(one: ScalingComparison) -> str:
    """The same at equal parameters; empty where there is none."""
    if one.images is None or one.at_size is None:
        return ""
    return (
        f"At {_amount(one.at_size)} parameters each, it needs {_times(one.images.middle)} times the images for a loss "
        f"of {one.images.loss[POINTS // 2]:.3g}."
    )


def exponents_sentences(found: Sequence[ScalingComparison]) -> list[str]:
    """Which exponents of each family are told from the reference's; families of which none is are one sentence."""
    told = []
    for one in found:
        apart = [f"{each.exponent} ({signed(each.difference)})" for each in one.exponents if each.apart]
        rest = [each.exponent for each in one.exponents if not each.apart]
        if apart:
            others = f"; {_listed(rest)} cannot be told from its" if rest else ""
            told.append(f"{one.family} differs from {one.reference} in {_listed(apart)}{others}.")
    alike: dict[tuple[str, str], list[str]] = {}
    for one in found:
        if one.exponents and not any(each.apart for each in one.exponents):
            names = _listed([each.exponent for each in one.exponents])
            alike.setdefault((names, one.reference), []).append(one.family)
    for (names, reference), families in alike.items():
        told.append(f"No exponent ({names}) of {_listed(families, 'or')} can be told from that of {reference}.")
    return told


def sensitivity_sentence(one: Sensitivity) -> str:
    """Between what the multiple moves, and what moves it the most; empty where there is nothing."""
    known = [line for line in one.lines if line.times is not None]
    whole = next((line.times for line in known if line.left_out == NOTHING), None)
    others = [line for line in known if line.left_out != NOTHING and line.times is not None]
    if whole is None or not others:
        return ""
    farthest = max(others, key=lambda line: abs((line.times or whole) / whole - 1))
    low, high = min(line.times or whole for line in known), max(line.times or whole for line in known)
    return (
        f"{one.family}: with one thing left out the multiple of FLOPs goes from {low:.3g} to {high:.3g}; the farthest "
        f"from {whole:.3g} is {farthest.times:.3g} ({farthest.left_out})."
    )


def sealed_sentence(prediction: SealedPrediction, outcomes: Sequence[Outcome]) -> str:
    """When it was made and by what, and how many came true."""
    code = f"revision {prediction.revision[:12]}" if prediction.revision else f"pdebench {prediction.version}"
    code += ", changed since" if prediction.dirty else ""
    runs = sum(one.runs for one in prediction.families if not one.refusal)
    came = [one for one in outcomes if one.observed is not None]
    told = (
        f"Sealed at {prediction.made_at} by {code}, from {plural(runs, 'run')} that "
        f"stand{'s' * (runs == 1)} here unchanged. "
    )
    if not came:
        return told + "Nothing of it has run yet."
    inside = sum(bool(one.inside) for one in came)
    early = sum(one.early for one in outcomes)
    ran = (
        f" {plural(early, 'run')} of a predicted budget had ended before: of these it is no prediction."
        if early
        else ""
    )
    return told + (
        f"Of {plural(len(came), 'predicted loss')} that came, {inside} "
        f"{'lies in its' if inside == 1 else 'lie in their'} 95% interval.{ran}"
    )


def signed(found: Interval) -> str:
    """`+0.098 (+0.09 to +0.11)`."""
    return " ".join(signed_parts(found))


def signed_parts(found: Interval) -> tuple[str, str]:
    """A difference, and its interval in parentheses."""
    value, low, high = (f"{number:+.2g}".replace("-", "−") for number in (found.value, found.low, found.high))
    return value, f"({low} to {high})"


def _course(found: Multiplier, grows: bool) -> str:
    # the course need not be even: the multiple in the middle may be less than at both ends
    first, last = (
        f"{times.value:.3g} at a loss of {loss:.3g}"
        for loss, times in ((found.loss[0], found.times[0]), (found.loss[-1], found.times[-1]))
    )
    ends = f"At the ends of what both measured it is {first} and {last}"
    tenfold = f"{_times(found.growth)} times as much at ten times the compute"
    if not grows:
        return f"{ends}: {tenfold}, with all comparisons taken together no trend that is told."
    return f"{ends}: it {'grows' if found.growth.value > 1 else 'shrinks'} with compute, {tenfold}."


def _times(found: Interval) -> str:
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"


def _amount(n: float) -> str:
    return f"{n / 1e6:.3g} million" if n >= 1e6 else f"{n:,.0f}"


def _listed(words: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
