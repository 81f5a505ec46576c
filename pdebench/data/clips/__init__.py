"""Clips of a user's own videos: files, or folders of frames, cut into windows that are decoded when they are read."""
