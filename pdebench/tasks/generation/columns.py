"""The columns beside scores that generation fills: how samples were drawn, and how fast."""

from __future__ import annotations

from pdebench.column import Column

COLUMNS: dict[str, Column] = {
    "sampled_from": Column(
        "string",
        "weights that samples were drawn from, and how often autocast cast them or that it did not",
        evaluated=True,
    ),
    "sample_nfe_mean": Column(
        "Float64",
        "evaluations of the velocity that a sample took, a guided one counting once; of dopri5 the mean over samples, "
        "each of which takes its batch's",
        evaluated=True,
    ),
    "sample_nfe_max": Column("Int64", "the most that a sample took", evaluated=True),
    "sample_passes_mean": Column(
        "Float64", "passes through the network that a sample took: a guided evaluation is two", evaluated=True
    ),
    "sample_seconds": Column(
        "Float64", "seconds of generating all samples, in each round the slowest device's", timed=True, evaluated=True
    ),
    "sample_images_per_s": Column(
        "Float64",
        "generated images a second, median over rounds of a batch a device",
        title="sampling",
        gate="cost",
        higher_is_better=True,
        timed=True,
        evaluated=True,
    ),
    "sample_images_per_s_q1": Column("Float64", "", timed=True, evaluated=True),
    "sample_images_per_s_q3": Column("Float64", "", timed=True, evaluated=True),
    "sample_images_per_s_n": Column(
        "Int64", "rounds timed, the first left out where there are more", timed=True, evaluated=True
    ),
    "sample_mfu": Column(
        "Float64",
        "2 x MACs x passes an image, guided evaluations being two, x sample_images_per_s, over mfu_peak: a share. "
        "A lower bound where macs_uncounted lists operations",
        timed=True,
        evaluated=True,
    ),
    "sample_joules_per_image": Column(
        "Float64",
        "joules of all devices by NVML's counter, over generated images; each device's first batch is left out where "
        "there are more",
        timed=True,
        evaluated=True,
    ),
}
