"""As CED's model: patches of 16 x 16, all time steps of the lowest band first; longer inputs are split."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .blocks import Block
from .configuration_ced import CedConfig


class CedPreTrainedModel(PreTrainedModel):
    config_class = CedConfig
    base_model_prefix = "ced"
    main_input_name = "input_values"


class CedModel(CedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.maximal_allowed_length = config.target_length
        self.drop_path = [x.item() for x in torch.linspace(0, config.drop_path_rate, config.depth)]
        bands, steps = config.n_mels // config.patch_size, config.target_length // config.patch_size
        self.init_bn = nn.BatchNorm2d(config.n_mels)
        self.patch_embed = nn.Conv2d(1, config.embed_dim, config.patch_size, config.patch_size)
        self.time_pos_embed = nn.Parameter(torch.randn(1, config.embed_dim, 1, steps))
        self.freq_pos_embed = nn.Parameter(torch.randn(1, config.embed_dim, bands, 1))
        self.blocks = nn.Sequential(*(Block(config.embed_dim, config.num_heads) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.post_init()

    def forward(self, input_values):
        x = self.init_bn(input_values[:, None].transpose(1, 2)).transpose(1, 2)
        splits = x.split(self.maximal_allowed_length, -1)
        if len(splits) > 1:
            missing = self.maximal_allowed_length - splits[-1].shape[-1]
            x = torch.cat([*splits[:-1], nn.functional.pad(splits[-1], (0, missing))])
        x = self.patch_embed(x)
        x = x + self.time_pos_embed[..., : x.shape[-1]] + self.freq_pos_embed
        x = self.norm(self.blocks(x.flatten(2).transpose(1, 2)))
        return SequenceClassifierOutput(logits=x.reshape(len(input_values), -1, x.shape[-1]))


class CedForAudioClassification(CedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = CedModel(config)
        self.outputlayer = nn.Sequential(nn.LayerNorm(config.embed_dim), nn.Linear(config.embed_dim, config.outputdim))
        self.post_init()

    def forward(self, input_values, labels=None):
        states = self.encoder(input_values).logits
        return SequenceClassifierOutput(logits=self.outputlayer(states.mean(1)).sigmoid(), hidden_states=states)
