"""Stage 1 and stage 2 as the commands run them."""
