"""Bulk scoring: a list too long for one process, in parts of like duration."""
