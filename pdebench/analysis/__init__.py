"""Laws fitted to tables of results: pure numpy, scipy and pandas."""
