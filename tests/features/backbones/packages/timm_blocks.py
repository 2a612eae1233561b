"""Layers of timm's vision transformers by the tensors of a file, as published code computes them for one clip."""

import torch.nn.functional as F

EPS = 1e-6


def linear(state, x, name):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def normed(state, x, name):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], EPS)


def block(state, x, name, n_heads):
    """Tokens (n, D) after one block."""
    qkv = linear(state, normed(state, x, f"{name}.norm1"), f"{name}.attn.qkv")
    q, k, v = qkv.reshape(len(x), 3, n_heads, -1).permute(1, 2, 0, 3)
    attention = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    x = x + linear(state, (attention @ v).transpose(0, 1).reshape(len(x), -1), f"{name}.attn.proj")
    hidden = F.gelu(linear(state, normed(state, x, f"{name}.norm2"), f"{name}.mlp.fc1"))
    return x + linear(state, hidden, f"{name}.mlp.fc2")
