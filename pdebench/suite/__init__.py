"""From a YAML file to cells: sections, grid, identity, matching, budget. Imports no torch."""
