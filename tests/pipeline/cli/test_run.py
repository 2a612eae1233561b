"""`audioheads run` reads the state of the clips' files once, however many backbones, heads and stages ask for it."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from features.audio.containers import open_audio
from features.datasets import load_manifest
from features.store.content_keys import clip_contents
from pipeline.cli.app import main
from tests.pipeline.small_corpora import tone

pytestmark = [pytest.mark.usefixtures("global_state"), pytest.mark.e2e]
CONFIG = """
dataset: {kind: csv, root: sounds.csv}
features: {backbones: [{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]}
heads: [{name: linear}, {name: mlp, hidden: [4], max_epochs: 2}]
protocol: folds
seeds: [0]
"""


class Touched:
    """Counts how often Python stats or opens each clip's file."""

    def __init__(self) -> None:
        self.counting = False
        self.stats: Counter[str] = Counter()
        self.opens: Counter[str] = Counter()

    def __enter__(self) -> "Touched":
        self.stats.clear()
        self.opens.clear()
        self.counting = True
        return self

    def __exit__(self, *_: object) -> None:
        self.counting = False

    def note(self, counter: Counter[str], path: object) -> None:
        if self.counting and isinstance(path, str | os.PathLike) and os.fspath(path).endswith(".wav"):
            counter["/".join(Path(path).parts[-2:])] += 1


@pytest.fixture(scope="module")
def touched() -> Touched:
    """Counts only inside its `with` block, because an audit hook cannot be removed."""
    counts = Touched()
    sys.addaudithook(lambda event, given: counts.note(counts.opens, given[0]) if event == "open" else None)
    return counts


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, touched: Touched) -> list[str]:
    """Tones of two classes in a folder with a config; calls of `os.stat` are counted."""
    monkeypatch.chdir(tmp_path)
    names = [f"{label}/{take}.wav" for label in ("low", "high") for take in range(10)]
    for number, name in enumerate(names):
        tone(Path("sounds") / name, 300 if name.startswith("low") else 1200, 0.3, 16_000, number)
    rows = [f"sounds/{name},{name.split('/')[0]},{number % 5}" for number, name in enumerate(names)]
    Path("sounds.csv").write_text("\n".join(["path,label,fold", *rows]) + "\n")
    Path("exp.yaml").write_text(CONFIG)
    stat = os.stat

    def counted(path, *arguments, **options):
        touched.note(touched.stats, path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", counted)
    return names


def run(*options: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "exp.yaml", *options])
    assert ended.value.code == 0


def linked(clips: list[str]) -> None:
    """Open the clips once, as the report does to choose the suffix of a linked clip."""
    for clip in clips:
        open_audio(Path("sounds") / clip).close()


def test_a_finished_run_reads_the_state_of_each_file_once(
    clips: list[str], touched: Touched, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    capsys.readouterr()
    with touched:
        linked(clips)
    stats, opens = touched.stats.copy(), touched.opens.copy()
    assert set(opens) == set(clips)
    with touched:
        run()
    out = capsys.readouterr().out
    assert out.count("0 computed, 20 reused, 0 failed") == 2
    assert out.count(": reused → ") == 4
    assert touched.stats - stats == dict.fromkeys(clips, 1)
    assert touched.opens == opens


def test_rehash_reads_each_file_as_often_as_one_reading_does(clips: list[str], touched: Touched) -> None:
    run()
    manifest = load_manifest({"kind": "csv", "root": "sounds.csv"})
    with touched:
        clip_contents(manifest, Path("elsewhere"), save=False)
        linked(clips)
    stats, opens = touched.stats.copy(), touched.opens.copy()
    assert set(stats) == set(opens) == set(clips)
    with touched:
        run("--rehash")
    assert (touched.stats, touched.opens) == (stats, opens)
