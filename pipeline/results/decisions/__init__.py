"""Calibration maps and thresholds of the models of a run: their files, and the rows of the tables about them."""
