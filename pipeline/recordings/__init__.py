"""Recordings that a person names without labels, and the windows that they are cut into."""
