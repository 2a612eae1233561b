"""Coverage of confidence intervals in simulations with known true values."""
