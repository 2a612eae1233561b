"""The networks of these families, and what calls the publishers' code."""
