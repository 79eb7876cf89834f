"""One file per corpus; every one writes the same JSON manifests."""
