"""`cache prune` from the command line: it removes what is selected and reports the size."""

import pytest

from features.store.table import open_table
from pipeline.cli.app import main
from tests.pipeline.small_corpora import tone

CONFIG = """
dataset: {{kind: folder, root: {root}, name: tones}}
features: {{backbones: [{{name: mfcc}}, {{name: wav2vec2, weights: random, size: tiny}}]}}
protocol: holdout
"""


@pytest.fixture
def corpus(tmp_path, monkeypatch, capsys):
    """Two folders of one data set, embedded into one cache."""
    monkeypatch.chdir(tmp_path)
    for number, clip in enumerate(("a/1", "a/2", "a/3", "b/1", "b/2", "b/3")):
        tone(tmp_path / f"all/{clip}.wav", 300 + 100 * number, 0.5, 16_000, number)
        if clip.endswith("1"):
            tone(tmp_path / f"few/{clip}.wav", 300 + 100 * number, 0.5, 16_000, number)
    for name in ("all", "few"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(root=name))
    assert call("features", "all.yaml") == 0
    capsys.readouterr()
    return tmp_path / "cache" / "tones"


def call(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


def held(folder):
    return {path.name.partition("-")[0]: sorted(open_table(path).ids) for path in folder.glob("*.h5")}


def test_clips_that_no_given_config_uses_are_removed(corpus, capsys):
    before = held(corpus)
    assert call("cache", "prune", "few.yaml", "--dry-run") == 0
    assert "would remove 4 clips" in capsys.readouterr().out
    assert call("cache", "prune", "few.yaml", "all.yaml") == 0
    assert "removed 0 clips" in capsys.readouterr().out
    assert held(corpus) == before
    assert call("cache", "prune", "few.yaml") == 0
    assert "cache prune: freed" in capsys.readouterr().out
    assert held(corpus) == {"mfcc": ["a/1.wav", "b/1.wav"], "wav2vec2": ["a/1.wav", "b/1.wav"]}


def test_whole_files_are_removed_by_name_and_age(corpus, capsys):
    assert call("cache", "prune", "--name", "wav2vec2-*", "--dry-run") == 0
    assert "would be removed" in capsys.readouterr().out
    assert call("cache", "prune", "--name", "wav2vec2-*", "--older-than", "1h") == 0
    assert len(held(corpus)) == 2
    assert call("cache", "prune", "few.yaml", "--name", "wav2vec2-*") == 0
    assert set(held(corpus)) == {"mfcc"}
    (path,) = corpus.glob("*.h5")
    path.write_bytes(b"no longer a cache file")
    assert call("cache", "prune", "cache", "--older-than", "0h") == 0
    assert held(corpus) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing selected"),
        (["cache"], "cache: not a config"),
        (["cache", "--older-than", "3 moons"], "not an age"),
        (["none.yaml"], "no such config file"),
    ],
)
def test_nothing_is_removed_without_a_selection(corpus, capsys, arguments, message):
    assert call("cache", "prune", *arguments) == 2
    assert message in capsys.readouterr().err
    assert len(held(corpus)) == 2
