"""How operations of a traced forward pass are counted: the trace (`graph.py`), and a handle for each that multiplies.

A handle takes what an operation was given and what it gave, tensors as `Operand`, and returns its MACs by name, or None
where it is no product after all: then the operation is listed. `plan/cost.py` has the conventions.
"""
