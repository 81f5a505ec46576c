"""The gate: is this revision slower, larger, different or worse than that one, and how sure is that?"""
