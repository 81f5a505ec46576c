"""The columns of a record: what a finished cell leaves, as one flat, typed row.

Besides these, a record has every key of its cell's configuration, dotted as a suite writes it (`model.family`,
`train.lr`). A number that was not measured is null, never 0. What may stand in one says `record_schema.py`. Importing
this imports no pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pdebench.metrics.scores import is_metric

# what a status may say of a cell that has its end, and needs no further run
FAILED = ("diverged", "oom", "timeout", "error")
SETTLED = ("done", *FAILED)

# name: (pandas dtype, meaning)
COLUMNS: dict[str, tuple[str, str]] = {
    "suite": ("string", "name of the suite that ran the cell"),
    "cell": ("string", "identity of the cell: a hash of its resolved configuration"),
    "planned_as": ("string", "the identity before data and arithmetic are known, which `pdebench plan` gives it"),
    "status": ("string", "done, oom, diverged, timeout, killed, error or interrupted"),
    "message": ("string", "what went wrong, in a sentence"),
    "started_at": ("string", "UTC"),
    "finished_at": ("string", "UTC"),
    "exit_code": ("Int64", "of the cell's process; negative: the signal that ended it"),
    "log_tail": ("string", "the last lines of log.txt, where the cell did not end well"),
    "slot": ("string", "where the cell ran: cpu, some of its cores, or a GPU"),
    "timing": ("string", "alone: nothing of ours ran beside the cell. shared: it was not timed"),
    "timing_failed": ("string", "how a further run for the timings failed; null: there was none, or they are here"),
    "isolation": ("string", "fresh: a new process. warm: a fork of one that had imported torch"),
    "parent_cpu_share": ("Float64", "processor time of the waiting parent, as a share of the cell's seconds"),
    "resumed_from_step": ("Int64", "training went on from a saved state of this step; null: it began at 0"),
    "files": ("string", "the first 16 hex digits of the sha256 of each file that the cell left, as JSON"),
    "resumed_bit_exact": ("boolean", "as if never interrupted; false: not known, as on a GPU, or see warnings"),
    "seconds_total": ("Float64", "wall-clock seconds of the cell's process"),
    "model_name": ("string", "as `create_model` takes it"),
    "params": ("Int64", "parameters, the frozen position embedding included"),
    "params_idle": ("Int64", "parameters that never act: what irfft2 does not use of GFNet's filters"),
    "tokens": ("Int64", "tokens of an image"),
    "macs_forward": ("Int64", "multiply-accumulates of one image's forward pass"),
    "macs_uncounted": ("string", "operations that the MACs leave out"),
    "flops_train_step": ("Int64", "3 x 2 x MACs x batch, no recomputation"),
    "flops_train": ("Float64", "flops_train_step x steps"),
    "mixer_implementation": ("string", "what ran the token mixer"),
    "warnings": ("string", "what a reader of these numbers has to know, as the cell said it; null: nothing"),
    "family_revision": ("Int64", "of the family: raised when the same configuration came to other numbers"),
    "family_source": ("string", "digest of the code of another package's family; null: ours"),
    "classes": ("Int64", "classes the model is conditioned on; null: unconditional"),
    "train_images": ("Int64", "images of the training split"),
    "data_checksum": ("string", "sha256 of the training split"),
    "data_skipped": ("Int64", "images of the source that were left out"),
    "images_seen": ("Int64", "steps x batch"),
    "train_loss": ("Float64", "training loss, mean of the last tenth of the steps"),
    "val_loss": ("Float64", "loss on held-out images, trained weights"),
    "val_loss_ema": ("Float64", "loss on held-out images, averaged weights"),
    "val_loss_transfer": ("Float64", "val_loss_ema at evaluate.resolution, which was not trained on"),
    "val_images": ("Int64", "held-out images"),
    "train_seconds": ("Float64", "seconds of the training steps, evaluations left out"),
    "train_step_ms_median": ("Float64", "milliseconds of one optimiser step, whose end all devices wait for"),
    "train_step_ms_q1": ("Float64", ""),
    "train_step_ms_q3": ("Float64", ""),
    "train_step_ms_n": ("Int64", "steps timed, after the warm-up"),
    "train_images_per_s": ("Float64", "batch / median step"),
    "data_wait_ms_median": ("Float64", "milliseconds of a step spent waiting for its batch"),
    "compile_seconds": ("Float64", "the first step less the median one, where train.compile is not eager"),
    "sampled_from": ("string", "weights that samples were drawn from, and how often autocast cast them"),
    "sample_seconds": ("Float64", "seconds of generating all samples, in each round the slowest device's"),
    "sample_images_per_s": ("Float64", "generated images a second, median over rounds of a batch a device"),
    "sample_images_per_s_q1": ("Float64", ""),
    "sample_images_per_s_q3": ("Float64", ""),
    "sample_images_per_s_n": ("Int64", "rounds timed, the first left out where there are more"),
    "mixer_ms_median": ("Float64", "milliseconds of the first block's mixer, forward and backward, train.batch_size"),
    "mixer_ms_q1": ("Float64", ""),
    "mixer_ms_q3": ("Float64", ""),
    "mixer_ms_n": ("Int64", "passes timed"),
    "mixer_forward_ms_median": ("Float64", "of the forward pass alone"),
    "mixer_images_per_s": ("Float64", "batch / median pass"),
    "mixer_held_bytes": ("Int64", "kept by autograd between forward and backward, weights left out"),
    "block_ms_median": ("Float64", "milliseconds of the first block, forward and backward, train.batch_size"),
    "block_ms_q1": ("Float64", ""),
    "block_ms_q3": ("Float64", ""),
    "block_ms_n": ("Int64", "passes timed"),
    "block_forward_ms_median": ("Float64", "of the forward pass alone"),
    "block_images_per_s": ("Float64", "batch / median pass"),
    "block_held_bytes": ("Int64", "kept by autograd between forward and backward, weights left out"),
    "operators_step": ("Int64", "operators that a forward and backward pass of the model dispatches, views left out"),
    "held_bytes": ("Int64", "kept by autograd between that forward and backward pass of two images, weights left out"),
    "graph_breaks": ("Int64", "times torch.compile gave up on a graph, in the cell's process"),
    "largest_batch": ("Int64", "images of the largest training step that fits, by doubling; null: not the first"),
    "largest_batch_bound": ("string", "what ended that search: memory, time, the search's own end or an error"),
    # means over layers of each mixer by itself; formulas in pdebench/measure/spatial, lengths in tokens
    "spatial_mixing_length": ("Float64", "mean distance of the gradient energy of the centre token, over times too"),
    "spatial_reach": ("Float64", "mean distance of the energy of the other tokens alone"),
    "spatial_locality": ("Float64", "0: other tokens count alike at any distance. near 1: only neighbours count"),
    "spatial_area_50": ("Float64", "fewest tokens that hold 50% of the gradient energy: effective receptive field"),
    "spatial_area_95": ("Float64", "fewest tokens that hold 95% of it"),
    "spatial_own_share": ("Float64", "share of the token itself"),
    "spatial_isotropy": ("Float64", "1: the field is as wide as high. 0: it is a line"),
    "spatial_offset": ("Float64", "distance from the token to the middle of its field"),
    "spatial_gain_ratio": ("Float64", "gain at the finest waves over gain at one cycle an image: below 1 smooths"),
    "spatial_anisotropy": ("Float64", "0: waves of all directions pass alike. 1: those of one direction alone"),
    "spatial_shift_error": ("Float64", "0: shifted tokens give the shifted result. without position embedding"),
    "spatial_network_length": ("Float64", "mixing length of all blocks together; 0 in an untrained adaLN-zero network"),
    "spatial_network_reach": ("Float64", "mean distance of the energy of the other tokens alone"),
    "spatial_network_area_95": ("Float64", "their effective receptive field"),
    "spatial_network_shift_error": ("Float64", "of the backbone, position embedding included; null: it answers 0"),
    "spatial_diffusive_length": ("Float64", "of a PDE: median over channels of sqrt(trace(2 tau K) / 2)"),
    "spatial_drift": ("Float64", "of a PDE: median over channels of |tau v|"),
    "spatial_decay": ("Float64", "of a PDE: median over channels of exp(tau r)"),
    "spatial_wrapped": ("Float64", "of a PDE: share of a token's mass that comes back over an edge of the image"),
    "spatial_physics_error": ("Float64", "largest disagreement of these with the measured impulse response"),
    "peak_memory_bytes": ("Int64", "peak memory of training, of the first device's process; see peak_memory_kind"),
    "peak_memory_kind": ("string", "how the peak was read"),
    "weights_bytes": ("Int64", "analytic"),
    "gradients_bytes": ("Int64", "analytic"),
    "optimizer_bytes": ("Int64", "analytic: AdamW's two moments"),
    "precision_used": ("string", "fp32 or bf16 (autocast)"),
    "machine_fingerprint": ("string", "hash of what decides speed; timings compare within one"),
    "device": ("string", "GPU's name, or cpu"),
    "devices": ("Int64", "devices that shared the cell; its speeds are of all together"),
    "driver": ("string", "GPU driver"),
    "cpu": ("string", ""),
    "cores": ("Int64", "physical cores"),
    "threads": ("Int64", "torch's threads"),
    "memory_bytes": ("Int64", "the machine's memory"),
    "allocator": ("string", "malloc settings of the process"),
    "load_average": ("Float64", "1-minute load when the cell began"),
    "platform": ("string", ""),
    "python_version": ("string", ""),
    "torch_version": ("string", ""),
    "pdebench_version": ("string", ""),
    "git_commit": ("string", ""),
    "git_dirty": ("boolean", "tracked files differed from the commit"),
}  # fmt: skip


def timing_failed(record: Mapping[str, Any]) -> dict[str, str]:
    """What the record of a done cell says of a further run, for its timings, that ended with this record."""
    return {"timing_failed": f"{record['status']}: {record['message']}"}


STATUSES = ("done", "oom", "diverged", "timeout", "killed", "error", "interrupted")


TIMINGS = (
    "train_seconds",
    "train_step_ms",
    "train_images_per_s",
    "data_wait_ms",
    "sample_seconds",
    "sample_images_per_s",
    "compile_seconds",
    "mixer_ms",
    "mixer_forward_ms",
    "mixer_images_per_s",
    "block_ms",
    "block_forward_ms",
    "block_images_per_s",
)


def without_timings(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what it says of speed: measured beside other work, it would mislead."""
    return {key: value for key, value in row.items() if not key.startswith(TIMINGS)}


# What a cell ran on; `machine.json` and the report's environment show these columns.
MACHINE = (
    "machine_fingerprint",
    "device",
    "driver",
    "cpu",
    "cores",
    "threads",
    "memory_bytes",
    "platform",
    "precision_used",
    "allocator",
    "torch_version",
    "python_version",
    "pdebench_version",
    "git_commit",
    "git_dirty",
)


# Resolved; null where the family has none, which in a table of such families alone would otherwise be of no type.
DIMENSIONS = ("model.depth", "model.width", "model.heads", "model.mlp_hidden")


@lru_cache(maxsize=1000)  # asked of every value of thousands of records
def dtype_of(column: str) -> str | None:
    """The pandas dtype of a declared column; scores of samples are floats."""
    if column in COLUMNS:
        return COLUMNS[column][0]
    if column in DIMENSIONS:
        return "Int64"
    if is_metric(column):
        return "Float64"
    return None
