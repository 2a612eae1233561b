"""Predictions, metrics, confidence intervals and significance tests."""
