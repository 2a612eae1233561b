"""The metadata key that marks the safetensors file of a model trained end to end."""

METADATA = "audioheads-finetuned"
