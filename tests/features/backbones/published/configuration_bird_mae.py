"""As the configuration of Bird-MAE, which states no type of model."""

from transformers import PretrainedConfig


class BirdMAEConfig(PretrainedConfig):
    _auto_class = "AutoConfig"

    def __init__(self, img_size_x=512, img_size_y=128, patch_size=16, embed_dim=12, depth=2, num_heads=3, **kwargs):
        super().__init__(**kwargs)
        self.img_size_x, self.img_size_y, self.patch_size = img_size_x, img_size_y, patch_size
        self.embed_dim, self.depth, self.num_heads = embed_dim, depth, num_heads
        self.drop_path_rate, self.pos_trainable, self.global_pool = 0.0, False, "mean"
        self.num_patches = (img_size_x // patch_size) * (img_size_y // patch_size)
