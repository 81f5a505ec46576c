"""What `evaluate:` may ask of images by denoising diffusion. Importing this imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pdebench.tasks.generation.evaluation import SamplesEvaluation


class DdpmEvaluation(SamplesEvaluation):
    """What is measured of a trained model."""

    sampler: Literal["ddpm", "ddim"] = Field(
        default="ddpm", description="ddpm draws every step from the learned distribution; ddim draws none."
    )
    nfe: int = Field(
        default=250, ge=2, le=1000, description="Steps of the diffusion that are kept, of 1000; DiT reports 250."
    )

    @property
    def expected_passes(self) -> int:
        """One a step, two with guidance."""
        return self.nfe * (2 if self.guidance != 1 else 1)

    @property
    def told(self) -> dict[str, str]:
        """Steps, and guidance."""
        return {"nfe": f"nfe {self.nfe}"} | ({"guidance": f"guidance {self.guidance:g}"} if self.guidance != 1 else {})
