"""From a `save_pretrained` folder, through the command line, to the cache file: as `transformers` does it alone.

Each layer's frames and means of every clip, whatever it was batched with, equal what the model gives for
that clip on its own; clips beyond `max_duration_s` equal their windows done one by one.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml

from features.store.verify import verify_table
from tests import processes

RATE, WINDOW_S, TOLERANCE = 16_000, 10, 1e-5
LENGTHS = [400, 401, 719, 1_600, 4_000, 8_017, 16_000, 31_999, 32_000, 90_001, 160_000]
LONG = [160_401, 250_000, 400_000]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
# label -> class in transformers and its architecture; between them every way in which padding can leak
MODELS = {
    "group": ("Wav2Vec2", {"feat_extract_norm": "group"}),
    "stable": ("Wav2Vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}),
    "stacked": ("Data2VecAudio", {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 3}),
}


def make_model(label):
    """Seeded random weights; norm weights, all biases and all scales away from where they start."""
    import transformers

    family, architecture = MODELS[label]
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **architecture})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = getattr(transformers, f"{family}Model")(config).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.data.uniform_(0.4, 1.8)
            elif name.endswith("bias"):
                parameter.data.normal_(0.0, 0.3)
            else:
                parameter.data.mul_(1.5)
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Clips, models, and the cache files that the command line wrote of them: (clips by id, models, tables)."""
    import transformers

    folder = tmp_path_factory.mktemp("exact")
    random = np.random.default_rng(0)
    clips = {}
    for number, length in enumerate(LENGTHS + LONG):
        clip = f"{'ab'[number % 2]}/{length}.wav"
        tone = np.sin(np.arange(length) * random.uniform(0.02, 0.4))
        samples = random.uniform(0.05, 1.5) * (tone + 0.3 * random.standard_normal(length)) + random.uniform(-0.3, 0.3)
        clips[clip] = samples.astype(np.float32)
        (folder / "clips" / clip).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / "clips" / clip, clips[clip], RATE, subtype="FLOAT")
    models = {label: make_model(label) for label in MODELS}
    backbones = []
    for label, model in models.items():
        model.save_pretrained(folder / label)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / label)
        weights = str(folder / label)
        backbones.append({"name": "wav2vec2", "label": label, "weights": weights, "max_duration_s": WINDOW_S})
    config = {
        "name": "exact",
        "dataset": {"kind": "folder", "root": str(folder / "clips"), "name": "clips"},
        "features": {"pooling": ["mean", "frames"], "backbones": backbones, "block_rows": 6, "threads": 1},
        "protocol": "holdout",
        "output": {"cache": str(folder / "cache"), "runs": str(folder / "runs")},
    }
    (folder / "exact.yaml").write_text(yaml.safe_dump(config))
    done = processes.audioheads("features", folder / "exact.yaml", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    tables = {}
    for path in (folder / "cache" / "clips").glob("*.h5"):
        table = verify_table(path)
        tables[Path(table.spec.weights).name] = table
    return clips, models, tables


def alone(model, samples):
    """What `transformers` gives for one clip: (L, F, D)."""
    import transformers

    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    values = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_values
    with torch.inference_mode():
        output = model(values, output_hidden_states=True)
    return torch.cat([*output.hidden_states[:-1], output.last_hidden_state]).numpy()


def assert_equal_by_layer(ours, theirs, what):
    assert ours.shape == theirs.shape, what
    for layer, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        error = np.linalg.norm(a - b) / np.linalg.norm(b)
        assert error <= TOLERANCE, f"{what}, layer {layer}: relative error {error:.2e}"


@pytest.mark.parametrize("label", MODELS)
def test_the_cache_holds_what_the_model_gives_for_each_clip_alone(made, label):
    clips, models, tables = made
    table = tables[label]
    assert set(table.ids) == set(clips)
    assert table.failures == {}
    means = dict(zip(table.ids, table.embeddings("mean"), strict=True))
    for clip, samples in clips.items():
        windows = [samples[at : at + RATE * WINDOW_S] for at in range(0, len(samples), RATE * WINDOW_S)]
        windows = [np.pad(window, (0, max(0, 400 - len(window)))) for window in windows]
        expected = np.concatenate([alone(models[label], window) for window in windows], axis=1)  # (L, F, D)
        assert_equal_by_layer(table.frames(clip).transpose(1, 0, 2), expected, f"frames of {clip}")
        assert_equal_by_layer(means[clip], expected.mean(axis=1), f"mean of {clip}")
