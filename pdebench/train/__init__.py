"""The training loop, its optimiser, and the state that an unfinished training leaves."""
