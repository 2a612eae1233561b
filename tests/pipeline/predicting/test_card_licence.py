"""Handcrafted features have the licence of the program that computes them, in the card and in the report."""

import pytest
import yaml

from tests import processes

pytestmark = pytest.mark.e2e
CONFIG = """
name: small
dataset: {kind: synthetic, root: audio, clips_per_class: 8, max_duration_s: 1.0, classes: [siren, crackle]}
features: {pooling: [mean], backbones: [{name: egemaps}, {name: mfcc}]}
heads: [{name: linear}]
output: {cache: cache, runs: runs}
"""


def test_the_licence_of_opensmile_is_in_card_and_report(tmp_path):
    pytest.importorskip("opensmile", reason="opensmile is not installed")
    (tmp_path / "small.yaml").write_text(CONFIG)
    done = processes.audioheads("run", "small.yaml", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "runs" / "small" / "report" / "index.html").read_text(encoding="utf-8")
    assert "audeering-research (no commercial use)" in page

    cards = {}
    for name in ("egemaps", "mfcc"):
        model = f"runs/small/models/{name}/linear"
        exported = processes.audioheads("export", model, name, cwd=tmp_path)
        assert exported.returncode == 0, exported.stderr
        cards[name] = (tmp_path / name / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(cards["egemaps"].split("---\n", 2)[1])
    assert (front["license"], front["license_name"]) == ("other", "audeering-research")
    sentence = "computes egemaps has the licence audeering-research, which does not allow commercial use."
    assert sentence in cards["egemaps"]
    assert "The model contains no pretrained weights. The training data has a separate licence." in cards["mfcc"]
