"""Images to train on: one file a source, a registry of them, and the cache they are decoded into."""
