"""Run batches through the model: decode audio, transfer it to the device, run forward passes, write shards."""
