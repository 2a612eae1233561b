"""Heads that are trained with AdamW on minibatches, many fits at once."""
