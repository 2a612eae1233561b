"""Sections about what scores mean and where to put thresholds."""
