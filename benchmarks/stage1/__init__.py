"""Stage 1: speed against common loops, error, memory by number of clips, and commands with nothing to do."""
