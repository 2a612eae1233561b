"""Stage 1 on Ray: the same blocks of work on many machines."""
