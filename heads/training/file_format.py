"""How a head's safetensors file is marked: the key of its metadata, and the version of what is stored there."""

FORMAT = "audioheads-head"
FORMAT_VERSION = 2
