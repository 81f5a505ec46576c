"""Train or validation, decided for each image by a hash of what it is and by nothing else.

Adding or removing images therefore never moves another one across, equal content always lands on one side,
and the split is the same at every resolution and on every machine.
"""

from __future__ import annotations

import hashlib

from pdebench.data.source import Split

VALIDATION_SHARE = 0.1
RECIPE = "split-1"
"""Part of every cache key: a change to the rule below must change it."""


def split_of(identity: bytes) -> Split:
    """The side on which the image with this identity (its bytes, or a name shared by its variants) stands."""
    digest = hashlib.sha256(RECIPE.encode() + b"\0" + identity).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < VALIDATION_SHARE * 2**64 else "train"
