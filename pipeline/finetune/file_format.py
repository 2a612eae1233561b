"""How the safetensors file of a model trained end to end is marked: the key of its metadata."""

METADATA = "audioheads-finetuned"
