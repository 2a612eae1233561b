"""Audio encoders of transformers: how they are called, measured and run in batches."""
