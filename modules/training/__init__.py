"""One run: configuration, trainers, checkpoints, metrics."""
