"""Families published as Python packages or as one file: run by the package, or by a network of this project."""
