"""The columns beside scores that say how the scores of samples came about. Only cells that have metrics fill them."""

from __future__ import annotations

from pdebench.column import Column

COLUMNS: dict[str, Column] = {
    "is_limit": Column("Float64", "what an Inception score of so few samples cannot pass"),
    "metric_samples": Column("Int64", "images that the scores are of", evaluated=True),
    "metric_reference": Column("string", "the images that they are measured against", evaluated=True),
    "metric_reference_count": Column("Int64", "how many those are", evaluated=True),
    "metric_reference_statistics": Column(
        "string", "whether the statistics of Fréchet distances came with the reference", evaluated=True
    ),
    "metric_kid_subset_size": Column("Int64", "images in each of KID's subsets", evaluated=True),
    "metric_copies": Column("Int64", "samples that are the same as others", evaluated=True),
    "metric_reference_copies": Column("Int64", "reference images that are the same as others", evaluated=True),
    "metric_resize": Column("string", "how images were brought to the extractor's size", evaluated=True),
    "metric_extractor": Column("string", "the networks whose features were compared", evaluated=True),
    "metric_source": Column("string", "digests of the code of other packages' metrics", evaluated=True),
    "metric_weights_sha256": Column("string", "their weights", evaluated=True),
    "metric_small_sample": Column("boolean", "fewer images than features have dimensions", evaluated=True),
}
