"""What is learned: each task has `loss(model, batch, ...)` and its own way to evaluate."""
