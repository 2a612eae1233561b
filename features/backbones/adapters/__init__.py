"""Base classes for models that take windows of one length, or clips of equal length only."""
