"""The space in which a model sees the latents of files, as their layout or the suite says."""

from __future__ import annotations

from pdebench.data.encoded.layout import Declared, Latents
from pdebench.data.source import SourceConfig
from pdebench.data.space import Space
from pdebench.errors import DataError


def space_of(config: SourceConfig, latents: Latents) -> tuple[Space, str]:
    """The space of a set, where `data.shift` and `data.scale` come first; and a remark on it, or none.

    Raises:
        DataError: the set says nothing of it and they are not given, or do not fit.
    """
    check_given(config, latents)
    if config.shift is not None and config.scale is not None:
        said = Declared(config.shift, config.scale)
    else:
        said = latents.declared()
    shift, scale = config.shift or said.shift, config.scale or said.scale
    return Space(shift, scale, latents.spread, config.autoencoder, said.black), said.remark


def check_given(config: SourceConfig, latents: Latents) -> None:
    """Raise DataError for a shift or scale that does not fit."""
    for key, values in (("shift", config.shift), ("scale", config.scale)):
        if values is not None and len(values) not in (1, latents.channels):
            raise DataError(
                f"data.{key} has {len(values)} values, and the latents in {latents.root} {latents.channels} channels: "
                "give "
                f"one, or {latents.channels}"
            )
    if config.scale is not None and 0 in config.scale:
        raise DataError("data.scale is 0, which makes all latents alike: give 1 / their standard deviation")
