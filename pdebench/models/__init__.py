"""Backbones: one shell, many token mixers. Knows nothing of suites, data or measurement."""
