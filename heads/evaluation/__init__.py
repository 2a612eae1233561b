"""Predictions, metrics, intervals and tests of significance."""
