"""The columns of a record: what a finished cell leaves, as one flat, typed row.

Those that a task or a metric fills are declared there, and gathered here.
Besides these, a record has every key of its cell's configuration, dotted as a suite writes it (`model.family`,
`train.lr`). A number that was not measured is null, never 0. What may stand in one says `record_schema.py`. Importing
this imports no pandas.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pdebench.column import Column
from pdebench.metrics.columns import COLUMNS as OF_METRICS
from pdebench.tasks.classification.columns import COLUMNS as OF_CLASSIFICATION
from pdebench.tasks.columns import of_a_side, of_other_packages
from pdebench.tasks.generation.columns import COLUMNS as OF_GENERATION
from pdebench.tasks.scores import is_metric
from pdebench.tasks.segmentation.columns import COLUMNS as OF_SEGMENTATION

# what a status may say of a cell that has its end, and needs no further run
FAILED = ("diverged", "oom", "timeout", "error")
SETTLED = ("done", *FAILED)

COLUMNS: dict[str, Column] = {
    "suite": Column("string", "name of the suite that ran the cell"),
    "cell": Column("string", "identity of the cell: a hash of its resolved configuration"),
    "planned_as": Column("string", "the identity before data and arithmetic are known, which `pdebench plan` gives it"),
    "status": Column("string", "done, oom, diverged, timeout, killed, error or interrupted"),
    "message": Column("string", "what went wrong, in a sentence"),
    "started_at": Column("string", "UTC"),
    "finished_at": Column("string", "UTC"),
    "exit_code": Column("Int64", "of the cell's process; negative: the signal that ended it", signed=True),
    "log_tail": Column("string", "the last lines of log.txt, where the cell did not end well"),
    "slot": Column("string", "where the cell ran: cpu, some of its cores, or a GPU"),
    "timing": Column("string", "alone: nothing of ours ran beside the cell. shared: it was not timed"),
    "timing_failed": Column(
        "string", "how a further run for the timings failed; null: there was none, or they are here"
    ),
    "isolation": Column("string", "fresh: a new process. warm: a fork of one that had imported torch"),
    "parent_cpu_share": Column("Float64", "processor time of the waiting parent, as a share of the cell's seconds"),
    "resumed_from_step": Column("Int64", "training went on from a saved state of this step; null: it began at 0"),
    "files": Column("string", "the first 16 hex digits of the sha256 of each file that the cell left, as JSON"),
    "resumed_bit_exact": Column("boolean", "as if never interrupted; false: not known, as on a GPU, or see warnings"),
    "seconds_total": Column("Float64", "wall-clock seconds of the cell's process"),
    "model_name": Column("string", "as `create_model` takes it"),
    "matched_by": Column("string", "what the model was resized to have as much of; null: its suite resizes none"),
    "matched_to": Column("string", "the family that it was matched to"),
    "matched_ratio": Column(
        "Float64", "that of the model over the reference's, as measured; null: worked out, or it is the reference"
    ),
    "matched_ratio_low": Column("Float64", "of its 95% interval"),
    "matched_ratio_high": Column("Float64", ""),
    "params": Column("Int64", "parameters, the frozen position embedding included", title="parameters", gate="exact"),
    "params_idle": Column("Int64", "parameters that never act: what irfft2 does not use of GFNet's filters"),
    "tokens": Column("Int64", "tokens of an image"),
    "macs_forward": Column("Int64", "multiply-accumulates of one image's forward pass", title="MACs", gate="exact"),
    "macs_uncounted": Column("string", "operations that the MACs leave out", gate="exact"),
    "flops_train_step": Column(
        "Int64", "3 x 2 x MACs x batch, no recomputation", title="FLOPs of a step", gate="exact"
    ),
    "flops_train": Column("Float64", "flops_train_step x steps"),
    "mixer_implementation": Column("string", "what ran the token mixer"),
    "warnings": Column("string", "what a reader of these numbers has to know, as the cell said it; null: nothing"),
    "initialised_from": Column("string", "what train.init is, and what was taken of it; null: random weights"),
    "family_revision": Column("Int64", "of the family: raised when the same configuration came to other numbers"),
    "family_source": Column("string", "digest of the code of another package's family; null: ours"),
    "channels": Column("Int64", "channels that the model sees: of an image, or of a latent"),
    "classes": Column("Int64", "classes of the images, which a model is conditioned on or tells apart; null: none"),
    "class_names": Column(
        "string", "the classes' names by number, JSON; null: none, or more than a table bears (see the checkpoint)"
    ),
    "train_images": Column("Int64", "images of the training split"),
    "data_checksum": Column(
        "string", "sha256 of the training split", title="the content of the data set", gate="exact"
    ),
    "data_skipped": Column("Int64", "images of the source that were left out"),
    "images_seen": Column("Int64", "steps x batch"),
    "train_loss": Column(
        "Float64",
        "training loss, mean of the last tenth of the steps",
        title="training loss",
        gate="learned",
        signed=True,
    ),
    "val_loss": Column(
        "Float64", "loss on held-out images, trained weights", title="validation loss", gate="learned", signed=True
    ),
    "val_loss_ema": Column(
        "Float64",
        "loss on held-out images, averaged weights",
        title="validation loss (EMA)",
        gate="learned",
        signed=True,
    ),
    "val_loss_transfer": Column(
        "Float64",
        "val_loss_ema at evaluate.resolution, or on evaluate.frames, which were not trained on",
        evaluated=True,
        signed=True,
    ),
    "val_images": Column("Int64", "held-out images"),
    "train_seconds": Column("Float64", "seconds of the training steps, evaluations left out", timed=True),
    "train_step_ms_median": Column(
        "Float64",
        "milliseconds of one optimiser step, whose end all devices wait for",
        title="train step",
        gate="cost",
        timed=True,
    ),
    "train_step_ms_q1": Column("Float64", "", timed=True),
    "train_step_ms_q3": Column("Float64", "", timed=True),
    "train_step_ms_n": Column("Int64", "steps timed, after the warm-up", timed=True),
    "train_images_per_s": Column("Float64", "batch / median step", timed=True),
    "train_mfu": Column(
        "Float64",
        "flops_train_step / median step, over mfu_peak: a share. A lower bound where macs_uncounted lists operations",
        timed=True,
    ),
    "mfu_peak": Column(
        "string", "dense FLOP/s of all devices in precision_used, and its source; null: not known", timed=True
    ),
    "train_joules_per_image": Column(
        "Float64", "joules of all devices by NVML's counter, over images of the steps after the warm-up", timed=True
    ),
    "data_wait_ms_median": Column("Float64", "milliseconds of a step spent waiting for its batch", timed=True),
    "compile_seconds": Column(
        "Float64", "the first step less the median one, where train.compile is not eager", timed=True, signed=True
    ),
    **OF_GENERATION,
    **OF_CLASSIFICATION,
    **OF_SEGMENTATION,
    "mixer_ms_median": Column(
        "Float64",
        "milliseconds of the first block's mixer, forward and backward, train.batch_size; of kinds in turn the mean",
        title="mixer",
        gate="cost",
        timed=True,
    ),
    "mixer_ms_q1": Column("Float64", "", timed=True),
    "mixer_ms_q3": Column("Float64", "", timed=True),
    "mixer_ms_n": Column("Int64", "passes timed", timed=True),
    "mixer_forward_ms_median": Column("Float64", "of the forward pass alone", timed=True),
    "mixer_images_per_s": Column("Float64", "batch / median pass", timed=True),
    "mixer_held_bytes": Column(
        "Int64",
        "kept by autograd between forward and backward, weights left out",
        unit="bytes",
        title="held by the mixer",
        gate="exact",
    ),
    "block_ms_median": Column(
        "Float64",
        "milliseconds of the first block, forward and backward, train.batch_size; of kinds in turn the mean",
        title="block",
        gate="cost",
        timed=True,
    ),
    "block_ms_q1": Column("Float64", "", timed=True),
    "block_ms_q3": Column("Float64", "", timed=True),
    "block_ms_n": Column("Int64", "passes timed", timed=True),
    "block_forward_ms_median": Column("Float64", "of the forward pass alone", timed=True),
    "block_images_per_s": Column("Float64", "batch / median pass", timed=True),
    "block_held_bytes": Column(
        "Int64",
        "kept by autograd between forward and backward, weights left out",
        unit="bytes",
        title="held by a block",
        gate="exact",
    ),
    "operators_step": Column(
        "Int64",
        "operators that a forward and backward pass of the model dispatches, views left out",
        title="operators",
        gate="exact",
    ),
    "held_bytes": Column(
        "Int64",
        "kept by autograd between that forward and backward pass of two images, weights left out",
        unit="bytes",
        title="held for backward",
        gate="exact",
    ),
    "graph_breaks": Column(
        "Int64", "times torch.compile gave up on a graph, in the cell's process", title="graph breaks", gate="exact"
    ),
    "largest_batch": Column("Int64", "images of the largest training step that fits, by doubling; null: not the first"),
    "largest_batch_bound": Column("string", "what ended that search: memory, time, the search's own end or an error"),
    # means over layers of each mixer by itself; formulas in pdebench/measure/spatial, lengths in tokens
    "spatial_mixing_length": Column(
        "Float64", "mean distance of the gradient energy of the centre token, over times too", signed=True
    ),
    "spatial_mixing_length_in_time": Column(
        "Float64", "of clips: the same along time alone, at the middle of the times", signed=True
    ),
    "spatial_mixing_length_in_frame": Column(
        "Float64", "of clips: the same in the frame alone, at the middle of the times", signed=True
    ),
    "spatial_reach": Column("Float64", "mean distance of the energy of the other tokens alone", signed=True),
    "spatial_locality": Column(
        "Float64", "0: other tokens count alike at any distance. near 1: only neighbours count", signed=True
    ),
    "spatial_area_50": Column(
        "Float64", "fewest tokens that hold 50% of the gradient energy: effective receptive field", signed=True
    ),
    "spatial_area_95": Column("Float64", "fewest tokens that hold 95% of it", signed=True),
    "spatial_own_share": Column("Float64", "share of the token itself", signed=True),
    "spatial_isotropy": Column("Float64", "1: the field is as wide as high. 0: it is a line", signed=True),
    "spatial_offset": Column("Float64", "distance from the token to the middle of its field", signed=True),
    "spatial_gain_ratio": Column(
        "Float64",
        "gain at the finest waves over gain at one cycle an image, of clips a frame: below 1 smooths",
        signed=True,
    ),
    "spatial_gain_ratio_in_time": Column(
        "Float64", "of clips: the same of waves that change with time alone", signed=True
    ),
    "spatial_anisotropy": Column(
        "Float64", "0: waves of all directions pass alike. 1: those of one direction alone", signed=True
    ),
    "spatial_shift_error": Column(
        "Float64", "0: shifted tokens give the shifted result. without position embedding", signed=True
    ),
    "spatial_network_length": Column(
        "Float64", "mixing length of all blocks together; 0 in an untrained adaLN-zero network", signed=True
    ),
    "spatial_network_reach": Column("Float64", "mean distance of the energy of the other tokens alone", signed=True),
    "spatial_network_area_95": Column("Float64", "their effective receptive field", signed=True),
    "spatial_network_shift_error": Column(
        "Float64",
        "of what the backbone puts out, position embedding included; null: it answers 0",
        signed=True,
    ),
    "spatial_diffusive_length": Column(
        "Float64", "of a PDE: median over channels of sqrt(trace(2 tau K) / 2)", signed=True
    ),
    "spatial_diffusive_length_in_time": Column(
        "Float64", "of a PDE on clips, whose diffusive length is in the frame: the same in time", signed=True
    ),
    "spatial_drift": Column("Float64", "of a PDE: median over channels of |tau v|, of clips in the frame", signed=True),
    "spatial_drift_in_time": Column("Float64", "of a PDE on clips: the same in time, |tau v_t|", signed=True),
    "spatial_decay": Column("Float64", "of a PDE: median over channels of exp(tau r)", signed=True),
    "spatial_wrapped": Column(
        "Float64", "of a PDE: share of a token's mass that comes back over an edge of the image or clip", signed=True
    ),
    "spatial_physics_error": Column(
        "Float64", "largest disagreement of these with the measured impulse response", signed=True
    ),
    "peak_memory_bytes": Column(
        "Int64",
        "peak memory of training, of the first device's process; see peak_memory_kind",
        unit="bytes",
        title="peak memory",
        gate="cost",
    ),
    "peak_memory_kind": Column("string", "how the peak was read", title="what peak memory is", gate="exact"),
    "graphs_bytes": Column(
        "Int64",
        "memory that CUDA graphs of training, validation and sampling hold together; null: there are none",
        unit="bytes",
        title="memory of graphs",
    ),
    "weights_bytes": Column("Int64", "analytic", unit="bytes", title="memory of weights", gate="exact"),
    "gradients_bytes": Column("Int64", "analytic", unit="bytes", title="memory of gradients", gate="exact"),
    "optimizer_bytes": Column(
        "Int64", "analytic: AdamW's two moments", unit="bytes", title="memory of the optimiser", gate="exact"
    ),
    "precision_used": Column("string", "fp32 or bf16 (autocast)"),
    "machine_fingerprint": Column("string", "hash of what decides speed; timings compare within one"),
    "device": Column("string", "GPU's name, or cpu"),
    "devices": Column("Int64", "devices that shared the cell; its speeds are of all together"),
    "driver": Column("string", "GPU driver"),
    "cpu": Column("string", ""),
    "cores": Column("Int64", "physical cores"),
    "threads": Column("Int64", "torch's threads"),
    "memory_bytes": Column("Int64", "the machine's memory", unit="bytes"),
    "allocator": Column("string", "malloc settings of the process"),
    "load_average": Column("Float64", "1-minute load when the cell began"),
    "platform": Column("string", ""),
    "python_version": Column("string", ""),
    "torch_version": Column("string", ""),
    "pdebench_version": Column("string", ""),
    "git_commit": Column("string", ""),
    "git_dirty": Column("boolean", "tracked files differed from the commit"),
}


def timing_failed(record: Mapping[str, Any]) -> dict[str, str]:
    """What the record of a done cell says of a further run, for its timings, that ended with this record."""
    return {"timing_failed": f"{record['status']}: {record['message']}"}


STATUSES = ("done", "oom", "diverged", "timeout", "killed", "error", "interrupted")


def without_timings(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what it says of speed: measured beside other work, it would mislead."""
    return {key: value for key, value in row.items() if (column := declared_as(key)) is None or not column.timed}


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


def declared_as(column: str) -> Column | None:
    """What is declared of a column; None of a score, a key of the configuration, or what nobody declares."""
    return COLUMNS.get(column) or OF_METRICS.get(column) or of_a_side(column) or of_other_packages(column)


@lru_cache(maxsize=1000)  # asked of every value of thousands of records
def dtype_of(column: str) -> str | None:
    """The pandas dtype of a declared column; scores of samples are floats."""
    if (declared := declared_as(column)) is not None:
        return declared.dtype
    if column in DIMENSIONS:
        return "Int64"
    if is_metric(column):
        return "Float64"
    return None
