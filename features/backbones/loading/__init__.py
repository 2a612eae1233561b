"""Find weights and code: model hub, local folders and files, imports, digests."""
