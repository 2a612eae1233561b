"""Which clips train, validate and test."""
