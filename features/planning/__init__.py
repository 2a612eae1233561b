"""What has to be computed, in which order and in which blocks."""
