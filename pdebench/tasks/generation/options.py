"""How samples are drawn: with which solver, over which steps, guided how. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pdebench.errors import SamplingError, did_you_mean
from pdebench.tasks.generation.steps import Step, even_steps, steps_before_a_last

Sampler = Literal["euler", "heun", "dopri5", "euler_maruyama"]
Diffusion = Literal["constant", "SBDM", "sigma", "decreasing", "increasing-decreasing"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
DIFFUSIONS: tuple[str, ...] = get_args(Diffusion)

NFE = 50
TOLERANCE = 1e-5  # what flow matching's paper solves with (arXiv 2210.02747)
LEAST_TOLERANCE = 1e-7  # a network answers in float32, and no solver can ask more of it
DIFFUSION: Diffusion = "sigma"  # what SiT's script samples with


@dataclass(frozen=True)
class SamplingOptions:
    """How samples are drawn; what is None and belongs to the sampler is filled in.

    Attributes:
        sampler: the solver. `euler` and `heun` take steps along the flow, of order 1 and 2. `dopri5` chooses its own
            steps, of order 5. `euler_maruyama` takes steps along SiT's stochastic differential equation
            (arXiv 2401.08740).
        nfe: evaluations of the velocity for one sample, of which `heun` spends two a step, the others one; None with
            `dopri5`, which spends what its tolerance takes.
        tolerance: of `dopri5`: what the error of a step may be, relative and absolute, for each sample.
        diffusion: of `euler_maruyama`: the coefficient of its noise, see `solvers/euler_maruyama.py`.
        time_shift: moves the steps, above 1 towards noise, see `time_shift.py`; 1 leaves them even.
        guidance: classifier-free guidance scale; 1 is none.
        guidance_channels: the first so many channels are guided, the others are the answer to the labels; None: all.
        guidance_interval: the times, ends included, between which samples are guided (arXiv 2404.07724); None: all.

    Raises:
        SamplingError: some of them do not go together.
    """

    sampler: Sampler = "heun"
    nfe: int | None = None
    tolerance: float | None = None
    diffusion: Diffusion | None = None
    time_shift: float = 1.0
    guidance: float = 1.0
    guidance_channels: int | None = None
    guidance_interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self._check_solver()
        self._check_guidance()
        filled = {
            "nfe": NFE if self.sampler != "dopri5" else None,
            "tolerance": TOLERANCE if self.sampler == "dopri5" else None,
            "diffusion": DIFFUSION if self.sampler == "euler_maruyama" else None,
        }
        for key, value in filled.items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)

    def _check_solver(self) -> None:
        name, nfe = self.sampler, self.nfe
        if name not in SAMPLERS:
            raise SamplingError("sampler", f"unknown sampler {name!r}; {did_you_mean(name, SAMPLERS)}")
        if nfe is not None and name == "dopri5":
            raise SamplingError("nfe", "dopri5 spends what its tolerance takes; leave nfe out, or take heun", "sampler")
        if nfe is not None and nfe < 1:
            raise SamplingError("nfe", f"nfe must be above 0, not {nfe}")
        if nfe is not None and name == "heun" and nfe % 2:
            message = f"heun spends two evaluations a step: nfe must be even, not {nfe}; change it, or take euler"
            raise SamplingError("nfe", message, "sampler")
        if nfe == 1 and name == "euler_maruyama":
            message = "euler_maruyama takes a step with noise and a last one without: nfe must be 2 or more, not 1"
            raise SamplingError("nfe", message, "sampler")
        for key, value, owner in (
            ("tolerance", self.tolerance, "dopri5"),
            ("diffusion", self.diffusion, "euler_maruyama"),
        ):
            if value is not None and name != owner:
                message = f"{key} is an option of {owner}, but the sampler is {name}; leave it out, or take {owner}"
                raise SamplingError(key, message, "sampler")
        if self.tolerance is not None and not LEAST_TOLERANCE <= self.tolerance < 1:
            message = f"tolerance must be a number from {LEAST_TOLERANCE:g} to below 1, not {self.tolerance:g}"
            raise SamplingError("tolerance", message)
        if self.diffusion is not None and self.diffusion not in DIFFUSIONS:
            message = f"unknown diffusion {self.diffusion!r}; {did_you_mean(self.diffusion, DIFFUSIONS)}"
            raise SamplingError("diffusion", message)
        if not 0 < self.time_shift < float("inf"):
            raise SamplingError("time_shift", f"time_shift must be a number above 0, not {self.time_shift:g}")
        if self.time_shift != 1 and name == "dopri5":
            message = "dopri5 chooses its own steps; leave time_shift out, or take a sampler of fixed steps"
            raise SamplingError("time_shift", message, "sampler")

    def _check_guidance(self) -> None:
        for key, says in (("guidance_channels", "where"), ("guidance_interval", "when")):
            if getattr(self, key) is not None and self.guidance == 1:
                message = f"{key} says {says} guidance works, but guidance is 1; set that, or leave this out"
                raise SamplingError(key, message, "guidance")
        if self.guidance_interval is not None:
            low, high = self.guidance_interval
            if not 0 <= low < high <= 1:
                message = f"guidance_interval must be two times, 0 <= low < high <= 1, not {low:g} and {high:g}"
                raise SamplingError("guidance_interval", message)

    def guides(self, t: float) -> bool:
        """Whether samples are guided at time `t`."""
        if self.guidance == 1:
            return False
        low, high = self.guidance_interval or (0.0, 1.0)
        return low <= t <= high

    @property
    def steps(self) -> list[Step]:
        """What a sampler of fixed steps takes.

        Raises:
            SamplingError: `dopri5` chooses its own.
        """
        if self.nfe is None:
            raise SamplingError("sampler", f"{self.sampler} chooses its own steps")
        if self.sampler == "euler_maruyama":
            return steps_before_a_last(self.nfe, self.time_shift)
        return even_steps(self.nfe // 2 if self.sampler == "heun" else self.nfe, self.time_shift)

    @property
    def expected_nfe(self) -> int:
        """Evaluations for one sample; of `dopri5` a guess, as its order has it from the 44 that a small network took.

        Those were at a tolerance of 1e-3; where a velocity is rough it takes several times as many.
        """
        return self.nfe or round(44 * (1e-3 / (self.tolerance or TOLERANCE)) ** 0.2)

    @property
    def expected_passes(self) -> int:
        """Passes through the network for one sample, a guided evaluation being two; of `dopri5` a guess."""
        if self.nfe is None:
            times = [index / self.expected_nfe for index in range(self.expected_nfe)]
        else:
            times = [t for step in self.steps for t in ((step.t, step.end) if self.sampler == "heun" else (step.t,))]
        return sum(2 if self.guides(t) else 1 for t in times)
