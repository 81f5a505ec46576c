"""Images and latents packed for training: arrays in shards, beside an index that says what they are."""
