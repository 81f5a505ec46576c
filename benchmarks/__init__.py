"""How fast the parts are against the least that they could cost: `python -m benchmarks`. CPU only."""
