"""Provenance of the numbers."""

import dataclasses
import subprocess

import numpy as np

from pipeline.config.config import load_config
from pipeline.report.analysis.provenance import commands_of, commit_of, stages_of, versions_of
from pipeline.report.render.page import render
from pipeline.report.sections import provenance
from tests.pipeline.report.toy_studies import manifest_of, study_of


def study(tmp_path, **about):
    manifest = manifest_of([f"c{row % 4 // 2}" for row in range(20)])
    predicted = np.eye(2)[np.arange(20) % 4 // 2][None]
    return study_of(manifest, {"a · linear": predicted}, folder=tmp_path, about={"a · linear": about})


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_a_checkout_has_a_commit_and_shows_changes(tmp_path):
    assert commit_of(tmp_path) is None
    git(tmp_path, "init")
    assert commit_of(tmp_path) is None  # no commit yet
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "one")
    clean = commit_of(tmp_path)
    assert clean is not None and len(clean) == 40
    (tmp_path / "notes.txt").write_text("untracked files change nothing")
    assert commit_of(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert commit_of(tmp_path) == f"{clean} + changes"


def test_commands_name_the_config_and_what_was_set(tmp_path):
    study(tmp_path)
    config = load_config(tmp_path / "toy.yaml", ["seeds=[1, 2]"])
    assert commands_of(config) == [
        f"audioheads {stage} {tmp_path}/toy.yaml --set 'seeds=[1, 2]'"
        for stage in ("features", "train-heads", "report")
    ]


def test_different_versions_are_listed(tmp_path):
    rows = {name: (now, then) for name, now, then in versions_of(study(tmp_path, versions={"torch": "1.0"}))}
    assert rows["torch"][1] == "1.0" and rows["torch"][0] != "1.0" and rows["numpy"][1] == ""


def test_stages_have_their_seconds(tmp_path):
    (stage,) = stages_of(study(tmp_path, train_seconds=7.5, train_device="cpu"))
    assert (stage.name, stage.what, stage.seconds, stage.device) == ("train-heads", "a · linear", 7.5, "cpu")


def test_inputs_of_trained_models_are_a_stage_of_their_own(tmp_path):
    about = {"recipe": {}, "fingerprint": "f", "family": "scratch", "extract_clips_per_s": 40.0, "train_seconds": 9.0}
    stages = stages_of(study(tmp_path, **about))
    assert [(stage.name, stage.what, stage.seconds) for stage in stages] == [
        ("features", "inputs of a · linear", 0.5),
        ("finetune", "a · linear", 9.0),
    ]


def test_the_section_escapes_the_config(tmp_path):
    toy = study(tmp_path)
    config = load_config(tmp_path / "toy.yaml", ["dataset.root='<script>x</script>'"])
    html = str(render(provenance.section(dataclasses.replace(toy, config=config)), toy).html)
    assert "<script>" not in html and "&lt;script&gt;" in html and "Resolved config" in html
