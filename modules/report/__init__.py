"""One HTML page from numbers that are computed elsewhere."""
