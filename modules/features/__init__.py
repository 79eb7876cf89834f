"""Hidden states on disk: computed once, read by every run."""
