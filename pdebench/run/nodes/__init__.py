"""Cells on several machines, that SLURM or torchrun gave one run together.

The machine that has the cell's first process, the first node, asks SLURM or torchrun to start a process on each of the
others: the *leader* there, which starts the rest of its machine's. All read and write one folder.
"""
