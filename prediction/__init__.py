"""Recordings in, emotions out."""
