"""The commands of `audioheads datasets`, and the listings of backbones, datasets and models."""
