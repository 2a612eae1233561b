"""As the configuration of USAD."""

from transformers import PretrainedConfig


class USADConfig(PretrainedConfig):
    model_type = "usad"

    def __init__(self, encoder_dim=12, num_layers=3, num_attention_heads=3, input_dim=128, **kwargs):
        super().__init__(**kwargs)
        self.encoder_dim, self.num_layers, self.input_dim = encoder_dim, num_layers, input_dim
        self.num_attention_heads = num_attention_heads
