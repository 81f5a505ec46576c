"""Published results, one file a family, and what is needed to read them; imports neither torch nor numpy.

`docs/published.md` says what an entry is and how one is added.
"""
