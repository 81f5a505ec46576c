"""Cells on a cluster that SLURM shares out."""
