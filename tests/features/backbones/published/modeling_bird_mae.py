"""As Bird-MAE's model: never calls `post_init`, and its `last_hidden_state` is the mean of the patches, normed."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .blocks import Block
from .configuration_bird_mae import BirdMAEConfig


class BirdMAEModel(PreTrainedModel):
    config_class = BirdMAEConfig

    def __init__(self, config):
        super().__init__(config)
        self.drop_path = [x.item() for x in torch.linspace(0, config.drop_path_rate, config.depth)]
        self.patch_embed = nn.Conv2d(1, config.embed_dim, config.patch_size, config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        positions = torch.zeros(1, config.num_patches + 1, config.embed_dim)
        self.pos_embed = nn.Parameter(positions, requires_grad=config.pos_trainable)
        self.blocks = nn.ModuleList(Block(config.embed_dim, config.num_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.fc_norm = nn.LayerNorm(config.embed_dim, eps=1e-6)

    def forward(self, input_values, output_hidden_states=None, return_dict=None):
        x = input_values if input_values.ndim == 4 else input_values[None]
        x = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return BaseModelOutput(last_hidden_state=self.fc_norm(x[:, 1:].mean(1)))
