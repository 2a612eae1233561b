"""An experiment on clips in an archive: the same rows as from files, in every stage that reads audio."""

import tarfile

import pandas as pd
import pytest

from features.store.verify import verify_table
from pipeline.cli.app import main
from tests import small_layouts as small

CONFIG = """
dataset: {{kind: {kind}, root: {root}}}
features: {{backbones: [{{name: mfcc}}]}}
heads: [{{name: linear}}]
finetune: [{{name: cnn, epochs: 1}}]
protocol: holdout
seeds: [0]
"""


def command(*words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0


@pytest.mark.e2e
def test_every_stage_reads_members_of_an_archive(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small.webdataset(tmp_path / "archives")
    for archive in (tmp_path / "archives").iterdir():
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path / "files" / archive.name, filter="data")
    rows = [
        {"id": f"{path.parent.name}::{path.name}", "path": path.relative_to(tmp_path), "label": path.stem[:-1]}
        for path in (tmp_path / "files").rglob("*.flac")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "files.csv", index=False)
    (tmp_path / "in.yaml").write_text(CONFIG.format(kind="webdataset", root="archives"))
    (tmp_path / "out.yaml").write_text(CONFIG.format(kind="csv", root="files.csv"))
    command("run", "in.yaml")
    assert len(list((tmp_path / "runs" / "in" / "report" / "audio").glob("*.flac"))) == 4
    command("datasets", "audit", "in.yaml")
    command("report", "in.yaml", "--embed-audio")
    assert "data:audio/mpeg" in (tmp_path / "runs" / "in" / "report" / "index.html").read_text()
    capsys.readouterr()
    command("cache", "explain", "out.yaml")
    assert "12 of the new or changed have the audio of rows of the dataset 'archives'" in capsys.readouterr().out
    command("features", "out.yaml")
    assert "0 computed, 12 reused, 0 failed" in capsys.readouterr().out
    (inside,) = (tmp_path / "cache" / "archives").glob("mfcc-*.h5")
    (outside,) = (tmp_path / "cache" / "files").glob("mfcc-*.h5")
    assert dict(zip(*keys(inside), strict=True)) == dict(zip(*keys(outside), strict=True))
    command("predict", "runs/in/models/mfcc/linear", "runs/in/manifest.csv", "archives", "-o", "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert len(scores) == 24 and scores["error"].isna().all()


def keys(path):
    table = verify_table(path)
    return table.ids, table.keys
