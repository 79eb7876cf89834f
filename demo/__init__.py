"""A synthetic corpus and a random encoder: `make demo`."""
