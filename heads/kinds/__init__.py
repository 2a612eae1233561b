"""One module per head, with all there is to it, and the table of their names in `registry`."""
