"""What a model learns. A task is declared in `task.py`, found by name in `registry.py`, at work as a `Learner`.

Declarations import no torch: suites are checked and costs are worked out without it.
"""
