"""The work of `audioheads backbones`: list, show and check backbones."""
