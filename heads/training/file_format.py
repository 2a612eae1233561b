"""The metadata key of a head's safetensors file, and the version of the stored format."""

FORMAT = "audioheads-head"
FORMAT_VERSION = 2
