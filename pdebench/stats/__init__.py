"""Statistics over tables: imports no torch, runs no model."""
