"""Batches through the model: loading, transfer to the device, forward passes, writing shards."""
