"""Calibration of probabilities, thresholds chosen on validation clips, and what they give on test clips."""
