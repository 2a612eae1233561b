"""The commands of `audioheads cache`."""
