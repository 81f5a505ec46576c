"""Segmentation: the class of every pixel, by a linear map of every token."""
