"""The networks and transforms of the backbone families; loaded with the backbone, not when names are listed."""
