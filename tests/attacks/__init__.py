"""Hostile input: an answer or one sentence."""
