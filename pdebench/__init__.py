"""pdebench: train, measure and compare token mixers for diffusion transformers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdebench.models.backbone import create_model
    from pdebench.results.store import load_results
    from pdebench.suite.load import load_suite

__all__ = ["create_model", "load_results", "load_suite"]
__version__ = "0.1.0"

# imported on first use: the command answers in a fraction of the time that torch and pandas take to import
_HOMES = {
    "create_model": "pdebench.models.backbone",
    "load_results": "pdebench.results.store",
    "load_suite": "pdebench.suite.load",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pdebench' has no attribute '{name}'")
