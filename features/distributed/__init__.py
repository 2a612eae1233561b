"""Stage 1 on Ray: compute the blocks of a plan on many machines."""
