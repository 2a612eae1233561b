"""Golden vectors: for each preset, a few numbers of its publisher's own code on three synthetic clips."""
