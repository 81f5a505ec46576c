"""`shards`: tar files as webdataset writes them, for sets that are too large to be decoded beforehand.

A sample is a key and its members: `KEY.jpg` (or another picture) with `KEY.cls`, or `KEY.npy`, a latent, or
`KEY.mp4`, a video. The key is all up to the last dot. Each shard is walked through once and its index kept, so that
rows are read at random from where they lie: nothing is unpacked, and nothing but pixels and numbers is ever made of a
member.
"""
