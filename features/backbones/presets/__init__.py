"""Records of the presets: what is known about a published model before its weights are there."""
