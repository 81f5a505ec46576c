"""Sizes that are matched by what is measured: pairs of processes, ratios, the search, and the file that keeps them."""
