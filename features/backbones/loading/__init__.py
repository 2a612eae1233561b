"""Finding weights and code: the hub, local folders and files, imports, digests."""
