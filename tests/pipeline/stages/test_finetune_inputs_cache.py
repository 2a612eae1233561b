"""Cached inputs of models trained end to end: log-mels as float16, everything else exact, and a disk that fills."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from features import backbones
from features.audio.decoding import read_waveform
from features.errors import ConfigError, RunError
from features.store.verify import verify_table
from pipeline.config.config import load_config
from pipeline.config.finetune_entries import input_entry
from pipeline.console import Console
from pipeline.finetune.run import cache_model_inputs
from pipeline.stages.features import load_corpus
from pipeline.stages.finetune_inputs_cache import cached_inputs
from tests import processes

CONFIG = """
name: inputs
dataset: {{kind: folder, root: {root}/audio}}
features: {{backbones: [{{name: mfcc}}], block_rows: 1}}
finetune:
  - {{name: cnn}}
  - {{name: cnn, label: exact, input_dtype: float32}}
  - {{name: cnn, label: power, mel: {{scale: power}}}}
  - {{name: m5, sample_rate_hz: 8000}}
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture
def path(tmp_path):
    """A config over twelve clips of four seconds, whose log-mels as float16 take 424 kB."""
    for number in range(12):
        folder = tmp_path / "audio" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(number).normal(0, 10.0 ** -(number % 6), 4 * 22_050)
        sf.write(folder / f"{number}.wav", samples.clip(-1, 1), 22_050)
    (tmp_path / "inputs.yaml").write_text(CONFIG.format(root=tmp_path))
    return tmp_path / "inputs.yaml"


def test_log_mels_are_rounded_to_float16_and_the_rest_is_exact(path):
    config = load_config(path)
    cache_model_inputs(config, device="cpu", console=Console())
    manifest = load_corpus(config).manifest
    tables = [verify_table(table.path) for table in cached_inputs(config, manifest)]
    assert [table.cache_spec["frames"]["dtype"] for table in tables] == ["float16", "float32", "float32", "float32"]
    assert len({table.path for table in tables}) == 4
    rounded, exact = tables[:2]
    for clip in rounded.ids:
        expected = exact.frames(clip)
        np.testing.assert_array_equal(rounded.frames(clip), expected.astype(np.float16))
        error = np.linalg.norm(rounded.frames(clip).astype(np.float32) - expected) / np.linalg.norm(expected)
        assert 0 < error < 2**-11
    clip = manifest.clips["id"].iloc[0]
    backbone = backbones.load(input_entry(config.finetune[0]), device="cpu")
    wave = read_waveform(manifest.path_of(0), backbone.spec.sample_rate).samples
    np.testing.assert_allclose(exact.frames(clip)[:, 0], backbone.embed([wave])[0][0], atol=1e-3)


def test_mel_powers_cannot_be_float16(path):
    with pytest.raises(ConfigError, match=r"finetune\[2\].*input_dtype should be float32 for mel.scale: power"):
        load_config(path, ["finetune[2].input_dtype=float16"])


def write_little(path: Path) -> None:
    """Cache the log-mels in a process that limits files to 100 kB; exit with code 3 on a `RunError`."""
    config = load_config(path, ["finetune=[{name: cnn}]"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        cache_model_inputs(config, device="cpu", console=Console())
    except RunError as error:
        sys.stdout.write(f"\n{error}\n")
        sys.exit(3)


@pytest.mark.crash
def test_a_full_disk_is_one_line_and_the_next_run_computes_nothing_again(path, capsys):
    """A real limit on file size, in a separate process: the blocks fit, the merged file does not."""
    done = processes.run(write_little, path)
    assert done.returncode == 3, done.stderr + done.stdout
    message = done.stdout.strip().splitlines()[-1]
    assert "(File too large); finished work is kept, run again to continue" in message
    config = load_config(path, ["finetune=[{name: cnn}]"])
    cache_model_inputs(config, device="cpu", console=Console())
    assert "logmel: 0 computed, 12 reused, 0 failed" in capsys.readouterr().out
    (table,) = cached_inputs(config, load_corpus(config).manifest)
    assert len(verify_table(table.path)) == 12
