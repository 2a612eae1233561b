"""What real runs print: digits with and without groups, noise that teaches nothing, patients of one class."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.report.run import run_report
from pipeline.stages.features import run_features
from pipeline.stages.train_heads import run_heads
from tests.paths import SHARED

pytestmark = pytest.mark.e2e  # runs whole experiments
DIGITS = SHARED / "data" / "free-spoken-digit-dataset" / "recordings"
INDEPENDENT = (
    "Every clip counted as independent, because no groups are known: if clips share a speaker or recording, the score "
    "is too high."
)
CONFIG = """
name: {name}
dataset: {{kind: csv, root: '{root}/{name}.csv', name: {name}, task: single-label}}
features: {{pooling: [mean, std], backbones: [{{name: mfcc}}]}}
heads: [{{name: linear, l2: [0.1]}}, {{name: knn, k: [3]}}]
seeds: [0]
{more}
output: {{cache: '{root}/cache', runs: '{root}/runs'}}
"""


def run(root: Path, name: str, rows: list[dict], *changes: str, more: str = "") -> Path:
    """Run an experiment on some clips; return its folder."""
    pd.DataFrame(rows).to_csv(root / f"{name}.csv", index=False)
    (root / f"{name}.yaml").write_text(CONFIG.format(root=root, name=name, more=more))
    config = load_config(root / f"{name}.yaml", changes)
    console = Console()
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=console)
    run_heads(config, device="cpu", dry_run=False, strict=False, console=console)
    run_report(config, console=console)
    return config.run_dir


def noise(root: Path, name: str, seed: int, level: float = 0.1) -> Path:
    path = root / name
    sf.write(path, (level * np.random.default_rng(seed).standard_normal(3200)).astype(np.float32), 16_000)
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def majority_of(run_dir: Path) -> pd.Series:
    table = pd.read_csv(run_dir / "report" / "results.csv")
    (row,) = [row for _, row in table.iterrows() if row["model"] == "majority"]
    return row


@pytest.mark.skipif(not DIGITS.is_dir(), reason=f"needs {DIGITS}")
def test_digits_without_groups_say_so_beside_the_answer_and_with_groups_do_not(tmp_path, capsys):
    clips = [path for path in sorted(DIGITS.glob("*.wav")) if int(path.stem.split("_")[2]) < 4]
    rows = [{"path": str(path), "label": path.stem[0]} for path in clips]
    plain = run(tmp_path, "plain", rows, "protocol=kfold")
    out = printed(capsys)
    table = pd.read_csv(plain / "report" / "results.csv")
    best = table.iloc[0]
    interval = f"{best['accuracy_ci_low']:.3f}–{best['accuracy_ci_high']:.3f}"
    use = f"Use mfcc · {best['head']}: {best['accuracy']:.3f} ({interval})."
    named = "The file names suggest 6 groups: george, jackson, lucas, …. If they are speakers or recordings, set "
    named += "dataset.pattern to '{}_{group}_{}'; otherwise the same one is in training and test."
    assert f"{use} {INDEPENDENT} {named}" in out and "clustered by group" not in out
    assert (table["n_groups"] == 0).all() and table["model"].tolist() == ["mfcc", "mfcc", "majority"]
    for file in ("results.md", "results.tex", "index.html"):
        assert INDEPENDENT in (plain / "report" / file).read_text()

    with_groups = [{**row, "group": path.stem.split("_")[1]} for row, path in zip(rows, clips, strict=True)]
    speakers = run(tmp_path, "speakers", with_groups, "protocol=leave-one-group-out")
    out = printed(capsys)
    again = pd.read_csv(speakers / "report" / "results.csv")
    best = again.iloc[0]
    assert "Intervals are clustered by group (6 groups)." in out
    assert f" Use mfcc · {best['head']}: {best['accuracy']:.3f} (" in out
    assert "independent" not in out and (again["n_groups"] == 6).all()
    assert INDEPENDENT not in (speakers / "report" / "index.html").read_text()
    assert best["accuracy"] < table["accuracy"].iloc[0] - 0.1
    # Each speaker says each digit four times, so that one digit is a tenth of the clips of every speaker.
    row = majority_of(speakers)
    assert row["accuracy"] == pytest.approx(0.1) and row["log_loss"] == pytest.approx(np.log(10), rel=1e-3)
    assert 0 < row["accuracy_ci_low"] < 0.1 < row["accuracy_ci_high"] < 0.2
    assert row[["head", "pooling", "layer"]].isna().all() and row["family"] == "baseline"


def test_where_nothing_beats_the_majority_the_answer_says_so(tmp_path, capsys):
    rows = [
        {"path": str(noise(tmp_path, f"{n}.wav", n)), "label": "cough" if n % 6 else "none", "group": f"p{n // 2}"}
        for n in range(72)
    ]
    run_dir = run(tmp_path, "coughs", rows, "protocol=kfold")
    out = printed(capsys)
    row = majority_of(run_dir)
    assert row["accuracy"] == pytest.approx(60 / 72)
    interval = f"{row['accuracy_ci_low']:.3f}–{row['accuracy_ci_high']:.3f}"
    assert (
        "Nothing learned anything: no model is significantly better than the majority row, which always answers the "
        f"most frequent training label: 0.833 ({interval})." in out
    )
    assert "Use mfcc" not in out and "It is not a model to use." in out
    assert "Nothing learned anything" in (run_dir / "report" / "results.md").read_text()
    table = pd.read_csv(run_dir / "report" / "results.csv")
    assert (table["balanced_accuracy"] < 0.62).all() and row["balanced_accuracy"] == 0.5


def test_its_predictions_are_kept_and_give_its_row(tmp_path):
    rows = [{"path": str(noise(tmp_path, f"{n}.wav", n)), "label": "ab"[n % 3 == 0]} for n in range(45)]
    run_dir = run(tmp_path, "kept", rows, "protocol=kfold", "seeds=[0,1]")
    kept = pd.read_parquet(run_dir / "predictions.parquet")
    own = kept[kept["model"] == "majority"]
    assert len(own) == 90 and (own[["head", "pooling", "layer"]] == "").all(axis=None)
    assert set(own["id"]) == set(kept["id"])
    row = majority_of(run_dir)
    assert (own["predicted"] == own["target"]).mean() == pytest.approx(row["accuracy"])
    labels = np.array(["a", "b"])
    given = np.stack(own["probabilities"].to_list())[np.arange(90), np.searchsorted(labels, own["target"])]
    assert -np.log(given).mean() == pytest.approx(row["log_loss"], rel=1e-5)
    for fold, part in own.groupby("fold"):
        trained = kept[(kept["model"] == "mfcc") & (kept["fold"] != fold)].drop_duplicates("id")
        share = (trained["target"] == "a").mean()  # training and validation; training alone is close to it
        assert part["probabilities"].iloc[0][0] == pytest.approx(share, abs=0.05)


def test_test_folds_of_one_class_are_explained_with_balanced_accuracy(tmp_path, capsys):
    rows = []
    for n in range(72):
        loud = n // 6 % 3 == 0
        clip = noise(tmp_path, f"{n}.wav", n, 0.3 if loud else 0.02)
        rows.append({"path": str(clip), "label": "loud" if loud else "quiet", "group": f"patient{n // 6}"})
    run_dir = run(tmp_path, "patients", rows, "protocol=leave-one-group-out")
    out = printed(capsys)
    best = pd.read_csv(run_dir / "report" / "results.csv").iloc[0]
    low, high = best["balanced_accuracy_ci_low"], best["balanced_accuracy_ci_high"]
    assert (
        "12 of 12 test folds hold one class only. There, accuracy is the recall of that class, and the mean of folds "
        "weighs classes by their folds. Balanced accuracy, the mean of the classes' recalls over all folds, treats "
        "them alike: "
        f"mfcc · {best['head']} {best['balanced_accuracy']:.3f} ({low:.3f}–{high:.3f})." in out
    )
    assert "12 of 12 test folds hold one class only" in (run_dir / "report" / "index.html").read_text()


def test_refitted_rows_are_marked_and_refit_is_offered(tmp_path, capsys):
    rows = [{"path": str(noise(tmp_path, f"{n}.wav", n)), "label": "ab"[n % 2], "fold": n // 2 % 3} for n in range(36)]
    run_dir = run(tmp_path, "folds", rows)
    assert "Validation took 12 of 24 clips per fold that could be trained on. The line refit: true" in printed(capsys)
    assert "| refit |" not in (run_dir / "report" / "results.md").read_text()
    run_dir = run(tmp_path, "folds", rows, "refit=true")
    assert "Validation took" not in printed(capsys)
    text = (run_dir / "report" / "results.md").read_text()
    assert "| head | refit | accuracy |" in text and text.count("| yes |") == 3
    assert majority_of(run_dir)["protocol"] == "folds+refit"


def test_without_the_clips_that_models_were_tested_on_there_is_no_majority_row(tmp_path, capsys):
    rows = [{"path": str(noise(tmp_path, f"{n}.wav", n)), "label": "ab"[n % 2]} for n in range(40)]
    run_dir = run(tmp_path, "old", rows, "protocol=kfold")
    assert majority_of(run_dir)["n_test"] == 40
    capsys.readouterr()
    run_report(load_config(tmp_path / "old.yaml", ["protocol=holdout"]), console=Console())
    table = pd.read_csv(run_dir / "report" / "results.csv")
    assert table["model"].tolist() == ["mfcc", "mfcc"]
    assert "Baseline: unknown, run train-heads again for the majority row." in printed(capsys)
    assert set(pd.read_parquet(run_dir / "predictions.parquet")["model"]) == {"mfcc"}


def test_only_files_that_were_written_are_named(tmp_path, capsys):
    rows = [
        {"path": str(noise(tmp_path, f"{n}.wav", n, 0.01 + 0.002 * n)), "label": 0.25 * n, "group": f"p{n // 4}"}
        for n in range(40)
    ]
    run_dir = run(tmp_path, "levels", rows, "protocol=kfold", "dataset.task=regression")
    assert not (run_dir / "report" / "classes.csv").exists()
    assert "results.csv, .md, .tex, .json, figures/" in printed(capsys)
