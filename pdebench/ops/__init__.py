"""What mixers are made of: spectral products, scans and convolutions, each with its own backward pass."""
