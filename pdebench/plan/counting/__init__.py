"""How operations are counted, those of a traced forward pass (`graph.py`) and those that PyTorch dispatches
(`dispatched.py`): a handle for each that multiplies (`table.py`).

A handle takes what an operation was given and what it gave, tensors as `Operand`, and returns its MACs by name, or None
where it is no product after all: then the operation is listed. `plan/cost.py` has the conventions. Handles of PyTorch's
operations stand here, those of our own beside each.
"""
