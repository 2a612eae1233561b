"""A small real experiment with hostile names; all stages except the report have run."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from pipeline.config.config import Config, load_config
from pipeline.console import Console
from pipeline.stages.features import run_features
from pipeline.stages.train_heads import run_heads
from tests.pipeline.report.hostile import NAMES

LABELS = NAMES[:4]
SETTINGS = """
name: {name}
dataset: {{kind: csv, root: '{root}/clips.csv', name: {name}}}
features:
  pooling: [mean]
  backbones: [{{name: mfcc}}, {{name: wav2vec2, weights: random, size: tiny}}]
heads: [{{name: linear, l2: [0.1]}}, {{name: knn, k: [1]}}]
protocol: folds
seeds: [0, 1]
output: {{cache: '{root}/cache', runs: '{root}/runs'}}
"""


def hostile_experiment(root: Path, name: str = "hostile") -> Config:
    """Four classes of tones in three folds: WAV files, an AIFF that browsers do not play, and parts of one long file.

    Args:
        root: An empty folder.
        name: Name of the experiment.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    rng = np.random.default_rng(0)
    long_pieces = []
    for number, label in enumerate(LABELS):
        for take in range(9):
            time = np.arange(4800) / 16_000
            # The last two classes are nearly equal, so that some clips are confused.
            pitch = (300, 600, 900, 920)[number] * rng.uniform(0.9, 1.1)
            samples = (0.4 * np.sin(2 * np.pi * pitch * time) + 0.2 * rng.standard_normal(len(time))) / 2
            row = {"id": f"{NAMES[(number + take) % len(NAMES)]} {number}.{take}", "label": label, "fold": take % 3 + 1}
            if take == 8:
                row |= {"path": "long.wav", "start_s": 0.3 * len(long_pieces), "duration_s": 0.3}
                long_pieces.append(samples)
            else:
                stem = NAMES[(number + take) % len(NAMES)].replace("/", "\u2215")
                row["path"] = f"{stem} {number}.{take}.{'aiff' if take == 7 else 'wav'}"
                sf.write(root / row["path"], samples.astype(np.float32), 16_000, subtype="PCM_16")
            rows.append(row)
    long_pieces.append(0.01 * rng.standard_normal(4 * 16_000))  # so that a part is far from the end of its file
    sf.write(root / "long.wav", np.concatenate(long_pieces).astype(np.float32), 16_000, subtype="PCM_16")
    pd.DataFrame(rows).to_csv(root / "clips.csv", index=False)
    path = root / f"{name}.yaml"
    path.write_text(SETTINGS.format(root=root, name=name))
    config = load_config(path)
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())
    return config
