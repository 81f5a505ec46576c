"""Which experiment a cell is: a digest of all that decides its numbers, and of nothing else.

That is its configuration with every default written out, and in the place of paths what the data hold. The suite's name
is not of it, nor what a cell runs on, which is in its record. So a result stays the result of its cell when a suite is
renamed or its data move, and none is taken for another's when images are replaced or a default changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pdebench.models.registry import FAMILIES
from pdebench.models.shell_options import PLAIN

# Keys that came after results had been kept, each with the value that means what was done before there was such a key.
# At that value, which is not always the default, a key is left out of the digest: so results of then stay the results
# of their cells, and a default that changes later changes no identity.
NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "data": {
        "content": None,
        "validation": None,
        "set": None,
        "download": False,
        "classes": None,
        "channels": None,
        "autoencoder": None,
        "scale": None,
        "shift": None,
        "frames": None,
        "frame_stride": 1,
    },
    "shell": {"preset": "dit", **PLAIN},
    "model": {"patch_frames": 1},
    "train": {
        "compile": "eager",
        "devices": 1,
        "nodes": 1,
        "shard": False,
        "accumulate": 1,
        "ema_warmup": True,
        "time_scale": 1000.0,
        "times": "uniform",
        "times_mean": None,
        "times_std": None,
        "times_shift": None,
        "prediction": "velocity",
        "init": None,
        "init_content": None,
    },
    "evaluate": {
        "frames": None,
        "tolerance": None,
        "diffusion": None,
        "time_shift": 1.0,
        "guidance_channels": None,
        "guidance_interval": None,
    },
    "measure": {
        "parts": [],
        "seconds": 2.0,
        "largest_batch": False,
        "search_seconds": 120.0,
        "spatial": False,
        "operators": False,
    },
}


# Once `auto` stood in a digest for whatever it came to. That was fp32 but on a GPU with units for bf16, so fp32 is
# written so still, and the cells of then that were bf16 are told by their records (`adopt.py`).
FORMERLY = {"fp32": "auto"}


def identity_of(config: Mapping[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a cell's configuration, which is plain nested data."""
    decides = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    del decides["suite"]
    if decides["data"]["content"] is not None:
        # where it lies, and how it came there; what decodes latents is of the content
        decides["data"] |= {"path": None, "validation": None, "set": None, "download": False}
        decides["data"] |= {"classes": None, "channels": None, "autoencoder": None}
    if decides["train"]["init_content"] is not None:
        decides["train"] |= {"init": None}
    decides["train"]["precision"] = FORMERLY.get(precision := decides["train"]["precision"], precision)
    decides["shell"]["preset"] = NEUTRAL["shell"]["preset"]  # a name for what the other keys say
    family = FAMILIES[decides["model"]["family"]]
    if family.revision > 1:
        decides["model"]["revision"] = family.revision
    for section, keys in {**NEUTRAL, "model": {**NEUTRAL["model"], **family.neutral}}.items():
        for key, value in keys.items():
            if key in decides[section] and decides[section][key] == value:
                del decides[section][key]
        if not decides[section]:
            del decides[section]
    canonical = json.dumps(decides, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
