"""Image quality: extractors of features, the statistics of references, and the metrics made of them."""
