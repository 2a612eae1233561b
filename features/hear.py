"""The module that HEAR's tools are given: `hear-validator features.hear --model …`. See `features.hear_api`."""

from features.hear_api import HearModel, get_scene_embeddings, get_timestamp_embeddings, load_model

__all__ = ["HearModel", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]
