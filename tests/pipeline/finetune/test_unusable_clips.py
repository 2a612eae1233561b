"""Clips that only an end-to-end model cannot use."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from pipeline.cli.app import main
from tests.pipeline import small_corpora

pytest.importorskip("lightning")

LOUD = """
name: loud
dataset: {{kind: gtzan, root: {root}}}
features: {{backbones: [{{name: waveform}}]}}
heads: [{{name: linear, l2: 0.1}}]
finetune:
  - name: cnn
    epochs: 1
    batch_size: 3
    channels: [4]
    threads: 1
    mel: {{sample_rate_hz: 8000, n_fft: 256, hop_length: 128, n_mels: 16}}
protocol: holdout
output: {{cache: {folder}/cache, runs: {folder}/runs}}
"""


@pytest.mark.e2e
def test_a_clip_that_only_a_trained_model_cannot_use_is_in_no_score(tmp_path):
    root = small_corpora.gtzan(tmp_path / "corpus")
    loud = root / "genres_original" / "rock" / "rock.00006.wav"  # its power is beyond float32, its samples are not
    sf.write(loud, np.full(16_000, 1e25, np.float32) * [(-1) ** k for k in range(16_000)], 22_050, "FLOAT")
    path = tmp_path / "loud.yaml"
    path.write_text(LOUD.format(root=root, folder=tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(path), "--device", "cpu"])
    assert ended.value.code == 0
    table = pd.read_csv(tmp_path / "runs" / "loud" / "report" / "results.csv")
    assert sorted(table["model"]) == ["cnn", "majority", "waveform"]
    assert table["n_failed"].tolist() == [1, 1, 1] and table["n_test"].nunique() == 1
