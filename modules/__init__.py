"""Torch modules and the Brain: what the papers are about."""
