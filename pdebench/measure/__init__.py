"""Measurements of a model on a batch; nothing here knows of suites or cells."""
