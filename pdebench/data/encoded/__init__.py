"""Latents that an autoencoder made, in the layouts in which published code bases keep them.

layout.py            what every layout gives: `Latents`
shards.py            LightningDiT's safetensors, whose headers are read by shard_header.py
tree.py              EDM2's and REPA's .npy files, a mean and a standard deviation an image
pairs.py             fast-DiT's .npy files, latents in one folder and labels in another
files.py             many small files, listed and hashed; alike.py which of them are of one shape, by npy_header.py
whole.py             labels that are those of classes
layouts.py           which layout lies in a folder
parts.py             what is trained on and what is held out
scaling.py           the space that a model sees, and whether it is of about unit variance
source.py            the data set `encoded`
"""
