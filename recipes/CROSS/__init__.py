"""Trained on some corpora, tested on another."""
