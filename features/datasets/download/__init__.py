"""Fetching corpora that their licence lets people fetch, and unpacking their archives."""
