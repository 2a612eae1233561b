"""Readers of common layouts of labelled audio: one file per layout."""
