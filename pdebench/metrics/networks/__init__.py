"""The networks whose features metrics compare.

Each is a module that takes uint8 images (B, 3, H, W) of any size and the layers that are asked for, and gives a tensor
(B, D) of float32 for each, by the layer's name.
"""
