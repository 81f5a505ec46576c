"""Two stored results held against each other: cells in pairs, metric by metric."""
