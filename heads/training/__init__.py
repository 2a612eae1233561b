"""Training heads, choosing among them on validation clips, and saving them."""
