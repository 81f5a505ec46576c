"""From tables to one page: reads pandas frames, never runs a model, never imports torch.

Empty, since the process that draws (`vega.py`) imports it, and needs nothing of it.
"""
