"""Embeddings of the clips as points in a plane."""
