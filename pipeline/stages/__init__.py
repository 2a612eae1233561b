"""Stage 1 and stage 2, as run by the commands."""
