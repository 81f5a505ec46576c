"""Models that others published, as weights of ours: what their files hold (`layouts.py`), and what that becomes.

`fit.py` reads a model's dimensions from the shapes of its tensors. How nearly it agrees with the authors' own code
stands in `docs/published_checkpoints.md`.
"""
