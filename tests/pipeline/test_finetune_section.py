"""Mistakes in the `finetune` section of a config: one line each, before anything runs."""

import pytest

from features.errors import ConfigError
from pipeline.config import load_config

BAD = [
    ("[{name: resnet19}]", "finetune[0].name: unknown model 'resnet19', did you mean 'resnet18'?"),
    ("[{name: mfcc}]", "finetune[0].name: 'mfcc' cannot be trained end to end"),
    ("[{name: m5, epoch: 3}]", "finetune[0].epoch: unknown key, did you mean 'epochs'?"),
    ("[{name: wav2vec2, weights: random, sise: tiny}]", "finetune[0].sise: unknown key, did you mean 'size'?"),
    ("[{name: cnn}, {name: cnn}]", "finetune[1].name: 'cnn' is also finetune[0]; give one of them another `label`"),
    ("[{name: cnn, label: mfcc}]", "finetune[0].label: 'mfcc' is also features.backbones[0]"),
    ("[{name: cnn, augment: {gain: [2, 1]}}]", "finetune[0].augment: gain should be a range"),
    ("[{name: cnn, mel: {hop_length: 4000}}]", "finetune[0].mel: hop_length should be at most n_fft (2048), got 4000"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text for text, _ in BAD])
def test_a_mistake_is_one_line(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(f"dataset: {{kind: gtzan, root: x}}\nfinetune: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {message}")
