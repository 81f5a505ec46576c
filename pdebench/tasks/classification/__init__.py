"""Classification of images: which of its classes an image is of, by a model that sees the image alone."""
