"""As the configuration of CED: its network has one of four sizes by name; 527 outputs need a file of the hub."""

from transformers import PretrainedConfig


class CedConfig(PretrainedConfig):
    model_type = "ced"

    def __init__(self, name=None, depth=2, num_heads=3, outputdim=527, target_length=1012, n_mels=64, **kwargs):
        super().__init__(**kwargs)
        self.name = name
        self.depth, self.num_heads, self.embed_dim = depth, num_heads, 4 * num_heads
        self.outputdim, self.target_length, self.n_mels = outputdim, target_length, n_mels
        self.patch_size, self.drop_path_rate = 16, 0.0
        if outputdim == 527:
            raise OSError("class_labels_indices.csv: the labels of AudioSet are another repository's file")
        self.id2label = None
        self.label2id = None
