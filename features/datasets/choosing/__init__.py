"""Choose clips and labels of a dataset after its reader has listed them."""
