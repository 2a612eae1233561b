"""Computes the numbers of the report; drawing is in `render`."""
