"""The heads: one module per head, and the table of their names in `registry`."""
