"""Download corpora whose licence permits it, and unpack their archives."""
