"""From tables to one page: reads pandas frames, never runs a model, never imports torch."""

from pdebench.report.html import write_report

__all__ = ["write_report"]
