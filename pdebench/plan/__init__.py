"""What models and suites cost, before anything runs: counted, traced, and predicted for a device."""
