"""Exported embeddings: cached values with the manifest's labels, in every format."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, UserError
from features.store.table import open_table
from pipeline.cache import export_formats as embedding_files
from pipeline.cache.export import run_export
from pipeline.config.config import Config, load_config
from pipeline.console import Console
from pipeline.results.features_index import read_features_index
from pipeline.stages.features import run_features
from tests.pipeline.small_corpora import tone

CLIPS = {"a/1.wav": "low", "a/2.wav": "low", "b/1.wav": "high", "b/2.wav": "high", "b/3.wav": "high"}
CONFIG = """
dataset: {{kind: csv, root: {root}/clips.csv}}
features:
  pooling: [mean, std, frames]
  backbones: [{{name: mfcc}}, {{name: wav2vec2, weights: random, size: tiny}}]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


def embedded(root, labels=None) -> Config:
    """A small experiment after stage 1, with one broken clip."""
    for number, clip in enumerate(CLIPS):
        tone(root / clip, 300 + 100 * number, 0.4 + 0.1 * number, 16_000, number)
    (root / "broken.wav").write_bytes(b"no audio")
    table = pd.DataFrame({"path": list(CLIPS), "label": labels or list(CLIPS.values())})
    table["fold"] = [1, 2, 1, 2, 1]
    table["group"] = ["x", "x", "y", "y", "z"]
    table.loc[len(table)] = ["broken.wav", table["label"].iat[0], 1, "x"]
    table.to_csv(root / "clips.csv", index=False)
    path = root / "small.yaml"
    path.write_text(CONFIG.format(root=root))
    config = load_config(path)
    run_features(
        config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console(), engine="local"
    )
    return config


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Config:
    return embedded(tmp_path_factory.mktemp("export"))


def export(config, **options):
    given = {"file_format": "parquet", "output": None, "backbones": [], "poolings": [], "layers": "all", **options}
    return run_export(config, **given, console=Console())


def cached(config, label):
    return open_table(read_features_index(config.run_dir)[label]["file"])


def about(path, file_format="parquet"):
    return json.loads(path.with_name(f"wav2vec2.{file_format}.json").read_text())


def test_parquet_has_a_row_per_clip_and_a_column_per_pooling_and_layer(experiment, tmp_path):
    files = export(experiment, output=tmp_path)
    assert [file.name for file in files] == ["mfcc.parquet", "wav2vec2.parquet"]
    table, got = cached(experiment, "wav2vec2"), pd.read_parquet(files[1])
    assert dict(zip(got["id"], got["label"], strict=True)) == CLIPS
    assert dict(zip(got["id"], got["group"], strict=True))["b/3.wav"] == "z"
    assert [name for name in got if "_layer" in name] == [f"{p}_layer{n}" for p in ("mean", "std") for n in range(4)]
    rows = table.rows(got["id"].tolist())
    for pooling in ("mean", "std"):
        values = np.stack([np.stack(got[f"{pooling}_layer{layer}"]) for layer in range(4)], axis=1)
        np.testing.assert_array_equal(values, table.embeddings(pooling)[rows])
    assert pq.read_schema(files[1]).field("mean_layer0").type.list_size == 96
    description = about(files[0])
    assert (description["left_out"], description["n_clips"], description["classes"]) == (
        ["broken.wav"],
        5,
        ["high", "low"],
    )
    assert (description["weights"], description["fingerprint"], description["layers"]) == (
        "untrained",
        table.fingerprint,
        [0, 1, 2, 3],
    )


def test_parquet_takes_frames(experiment, tmp_path):
    (file,) = export(experiment, output=tmp_path, backbones=["wav2vec2"], poolings=["frames"], layers="1,3")
    table, got = cached(experiment, "wav2vec2"), pd.read_parquet(file)
    for _, clip in got.iterrows():
        values = np.stack([np.stack(clip[f"frames_layer{layer}"]) for layer in (1, 3)], axis=1)
        np.testing.assert_array_equal(values, table.frames(clip["id"])[:, [1, 3]])


def test_npz_needs_no_pickle_and_holds_arrays_in_one_order(experiment, tmp_path, monkeypatch):
    options = {"output": tmp_path, "backbones": ["wav2vec2"], "poolings": ["mean", "frames"], "layers": "last"}
    (file,) = export(experiment, file_format="npz", **options)
    table = cached(experiment, "wav2vec2")
    with np.load(file, allow_pickle=False) as got:
        ids = got["id"].tolist()
        assert {clip: str(got["classes"][target]) for clip, target in zip(ids, got["target"], strict=True)} == CLIPS
        assert dict(zip(ids, got["fold"].tolist(), strict=True))["b/2.wav"] == 2
        np.testing.assert_array_equal(got["mean"], table.embeddings("mean")[table.rows(ids)][:, 3:])
        for clip, start, stop in zip(ids, got["frames_offsets"], got["frames_offsets"][1:], strict=False):
            np.testing.assert_array_equal(got["frames"][start:stop], table.frames(clip)[:, 3:])
        assert got["layers"].tolist() == [3]


def test_webdataset_splits_tars_and_leaves_no_older_ones(experiment, tmp_path, monkeypatch):
    options = {"file_format": "webdataset", "output": tmp_path, "backbones": ["wav2vec2"]}
    with monkeypatch.context() as patch:
        patch.setattr(embedding_files, "TAR_BYTES", 1)
        assert len(export(experiment, **options)) == 5
    other = tmp_path / "wav2vec2-notes.tar"
    other.touch()
    monkeypatch.setattr(embedding_files, "TAR_BYTES", 10_000)
    files = export(experiment, **options)
    assert 1 < len(files) < 5
    assert sorted(tmp_path.glob("*.tar")) == sorted([*files, other])
    table, samples = cached(experiment, "wav2vec2"), {}
    for file in files:
        with tarfile.open(file) as archive:
            for member in archive:
                key, _, name = member.name.partition(".")
                samples.setdefault(key, {})[name] = archive.extractfile(member).read()
    description = about(files[0], "webdataset")
    assert description["files"] == [file.name for file in files]
    found = {}
    for sample in samples.values():
        assert set(sample) == {"json", "cls", "mean.npy", "std.npy"}
        clip = json.loads(sample["json"])
        found[clip["id"]] = clip["label"]
        assert description["classes"][int(sample["cls"])] == clip["label"]
        mean = np.load(io.BytesIO(sample["mean.npy"]))
        np.testing.assert_array_equal(mean, table.embeddings("mean")[table.rows([clip["id"]])[0]])
    assert found == CLIPS


@pytest.mark.parametrize(
    ("labels", "targets"),
    [
        (
            ['["low"]', '["low","loud"]', "[]", '["high"]', '["high","loud"]'],
            {"a/2.wav": [0, 1, 1], "b/1.wav": [0, 0, 0]},
        ),
        ([0.5, 1.5, 2.0, 2.25, 3.0], {"a/2.wav": 1.5, "b/1.wav": 2.0}),
    ],
)
def test_multi_label_and_regression_are_exported(tmp_path, labels, targets):
    config = embedded(tmp_path, labels)
    (file,) = export(config, file_format="npz", backbones=["mfcc"])
    with np.load(file, allow_pickle=False) as got:
        target = dict(zip(got["id"].tolist(), got["target"], strict=True))
    assert {clip: target[clip].tolist() for clip in targets} == targets
    (file,) = export(config, backbones=["mfcc"])
    got = pd.read_parquet(file).set_index("id")["label"]
    assert len(got) == 5
    assert np.array_equal(got["a/2.wav"], ["loud", "low"] if isinstance(labels[0], str) else 1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_format": "parket"}, "did you mean 'parquet'"),
        ({"backbones": ["mfc"]}, "did you mean 'mfcc'"),
        ({"poolings": ["max"]}, "contains no pooling 'max'; it contains mean, std, frames"),
        ({"layers": "7"}, "--layers '7': use all, last, or a comma-separated selection of 0"),
    ],
)
def test_errors_list_the_available_names(experiment, options, message):
    with pytest.raises(ConfigError, match=message):
        export(experiment, **options)


def test_before_stage_1_the_error_names_the_command(experiment):
    other = load_config(experiment.run_dir.parent.parent / "small.yaml", ["features.pooling=[max]"])
    with pytest.raises(UserError, match="run `audioheads features"):
        export(other)
