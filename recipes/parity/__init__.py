"""Parity: compares presets with their publishers' own code, and makes the golden vectors of the default tests."""
