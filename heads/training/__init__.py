"""Train heads, choose among them by validation, and save them."""
