"""End-to-end training of networks with Lightning."""
