"""Heads trained without each class in turn, for `open_set`."""
