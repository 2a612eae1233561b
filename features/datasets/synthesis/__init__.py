"""Synthetic sounds for the demo and for tests."""
