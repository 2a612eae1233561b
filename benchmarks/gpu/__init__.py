"""One script for a machine with a GPU: correctness first, then speed."""
