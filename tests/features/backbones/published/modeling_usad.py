"""As USAD's model: passes everything on to its network, and never calls `post_init`."""

from transformers import PreTrainedModel

from .configuration_usad import USADConfig
from .usad_model import UsadModel


class USADModel(PreTrainedModel):
    config_class = USADConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = UsadModel(config)

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)
