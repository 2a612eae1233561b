"""Training networks end to end with Lightning."""
