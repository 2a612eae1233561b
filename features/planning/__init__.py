"""Plan a run: which clips to compute, in which order, blocks and batches."""
