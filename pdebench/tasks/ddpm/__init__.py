"""Generation by denoising diffusion with a learned variance: what DiT is trained for and sampled by.

The diffusion is DDPM's (arXiv 2006.11239), a thousand steps of a linear schedule; the variance and its loss are of
arXiv 2102.09672. What does not depend on these (images, labels, guidance, metrics) is generation's.
"""
