"""Cells on this machine."""
