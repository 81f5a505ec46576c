"""One file a token mixer."""
