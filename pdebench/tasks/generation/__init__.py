"""Generation of images by flow matching: path and loss, solvers, pixels, and what is asked of samples."""
