"""A trained model applied to recordings, exported and loaded."""
