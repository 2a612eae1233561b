"""One module per head, and the table of their names."""
