"""Variants of PDE-SSM-DiT, a family of another package: what lost can be run again, and costs the product nothing."""
