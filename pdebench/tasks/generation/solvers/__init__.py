"""Solvers of the flow's equation, one a file: from noise, t = 0, to images, t = 1, along a velocity."""
