"""Families whose models are published as Python packages: run by the package, or by a network of this project."""
