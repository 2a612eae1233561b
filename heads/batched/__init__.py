"""All fits of one head trained as one batched job."""
