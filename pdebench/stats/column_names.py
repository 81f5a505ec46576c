"""What columns of other people's tables are by their names: settings, seeds, or what says nothing of a law."""

from __future__ import annotations

import re

_SETTINGS = (
    {"resolution", "res", "image_size", "img_size", "image_resolution", "img_res", "input_size", "patch"}
    | {"patch_size", "batch_size", "batch", "bs", "batchsize", "global_batch_size", "lr", "learning_rate", "base_lr"}
    | {"peak_lr", "max_lr", "precision", "dtype", "nfe", "sampling_steps", "guidance", "guidance_scale", "cfg"}
    | {"cfg_scale", "optimizer", "weight_decay", "wd", "dropout", "label_dropout", "ema", "ema_decay", "seq_len"}
    | {"sequence_length", "context_length"}
)
"""Names under which tables keep, as numbers, what a loss also depends on."""

_RATES = frozenset({"lr", "learning_rate", "base_lr", "peak_lr", "max_lr"})

_SEED = re.compile(r"(\w+_)?(seeds?|rng)|(seed|rng)(_\w+)?|repeat|repetition|replicate|rep|trial|fold")
_NO_SETTING = re.compile(
    r"unnamed:.*|.*(_|^)(ids?|idx|index|row|no|nr|number|line|run|job|pid|rank|node|host|machine|gpus?|device|devices|port"
    r"|attempt|step|steps|epochs?|iterations?|date|time|timestamp|created|started|finished|updated|at|seconds|secs?|s|ms"
    r"|minutes|mins?|hours|h|days|duration|runtime|walltime|elapsed|memory|mem|vram|bytes|kb|mb|gb|gib|mib|watts|power"
    r"|energy|kwh|cost|price|throughput|speed|rate_per_s|utili[sz]ation|mfu|loss|accuracy|acc|fid|kid|score|error|err)"
    r"(_(s|secs?|seconds|ms|h|hours|kb|mb|gb|gib|mib|bytes|used|peak|total|max|mean|count|id|per_\w+))?"
)


def is_setting(name: str) -> bool:
    """Whether it names what a loss depends on."""
    return _plain(name) in _SETTINGS


def is_seed(name: str) -> bool:
    """Whether it tells repeats of one run apart."""
    return bool(_SEED.fullmatch(_plain(name)))


def is_rate(name: str) -> bool:
    """Whether it is a learning rate."""
    return _plain(name) in _RATES


def is_no_setting(name: str) -> bool:
    """Whether it names a row, a time, a machine or what was measured."""
    return is_seed(name) or bool(_NO_SETTING.fullmatch(_plain(name)))


def _plain(name: str) -> str:
    """`train.Batch-Size` as `batch_size`."""
    return re.sub(r"[\s-]+", "_", name.rpartition(".")[2].strip().lower())
