"""`audioheads predict`: equal to stored predictions, all inputs and formats, failures, resumption."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from features.audio.decoding import read_waveform
from features.errors import AudioError, UserError, WeightsError
from pipeline.predicting.fitted import HeadEnsemble
from pipeline.predicting.locate import models_of
from pipeline.predicting.predictor import Predictor
from pipeline.predicting.resume import Parts
from pipeline.recordings.clips import Cut
from tests.pipeline.predicting.conftest import run, trained

pytestmark = pytest.mark.e2e  # runs whole experiments

FROZEN, TRAINED = 1e-5, 1e-4


def clip_paths(run_dir: Path) -> pd.Series:
    """Files of the run's clips by id."""
    return pd.read_csv(run_dir / "manifest.csv").set_index("id")["path"].map(lambda path: str(run_dir / path))


def stored(model: Path, **which: object) -> pd.DataFrame:
    """Stored predictions of a model."""
    table = pd.read_parquet(model / "predictions.parquet")
    for column, value in which.items():
        table = table[table[column] == value]
    return table


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return np.stack(table["probabilities"].to_list())


@pytest.mark.e2e
def test_every_model_of_a_run_reproduces_its_stored_predictions(everything):
    paths = clip_paths(everything)
    models = models_of(everything)
    assert len(models) == 2 * 8 + 6
    for model in models:
        kept = stored(model)
        predicted = Predictor.load(model, device="cpu").predict(list(paths[kept["id"]]))
        bound = FROZEN if model.parent.name in ("mfcc", "wav2vec2") else TRAINED
        assert np.abs(predicted - probabilities(kept)).max() < bound, model


def test_each_fold_and_seed_can_be_chosen_and_their_mean_is_the_default(folds, capsys):
    model, paths = folds / "models" / "mfcc" / "mlp", clip_paths(folds)
    for fold, seed in (("5", 0), ("3", 1)):
        kept = stored(model, fold=fold, seed=seed)
        predicted = Predictor.load(model, fold=fold, seed=seed, device="cpu").predict(list(paths[kept["id"]]))
        assert np.abs(predicted - probabilities(kept)).max() < FROZEN
    clip = paths.iloc[0]
    singles = [Predictor.load(model, fold=str(fold), seed=1, device="cpu").predict([clip]) for fold in range(1, 6)]
    together = Predictor.load(model, seed=1, device="cpu").predict([clip])
    assert np.allclose(together, np.mean(singles, axis=0), atol=1e-6)
    assert np.ptp(np.stack(singles), axis=0).max() > 1e-3  # otherwise any fold would pass
    capsys.readouterr()
    assert run("predict", model, clip, "--ensemble", "all") == 0
    assert "the mean of 5 folds (1, 2, 3, 4, 5), seeds 0, 1" in capsys.readouterr().err
    assert run("predict", model, clip, "--fold", "9") == 2
    assert "--fold 9" in capsys.readouterr().err


def test_waveforms_and_files_are_scored_alike(folds):
    predictor = Predictor.load(folds / "models" / "mfcc" / "mlp", device="cpu")
    path = clip_paths(folds).iloc[0]
    waveform = read_waveform(Path(path), None)
    predicted = predictor.predict([waveform.samples], waveform.sample_rate)
    assert np.abs(predicted - predictor.predict([path])).max() < 1e-6
    with pytest.raises(AudioError, match=r"nowhere\.wav: file not found"):
        predictor.predict(["nowhere.wav"])


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_output_files_list_the_clips_in_input_order(folds, tmp_path, suffix):
    model, paths = folds / "models" / "mfcc" / "mlp", clip_paths(folds)
    clips = list(paths.iloc[[5, 0, 17]])
    out = tmp_path / f"predicted.{suffix}"
    assert run("predict", model, *clips, "-o", out, "--fold", "5", "--top-k", "2") == 0
    expected = Predictor.load(model, fold="5", device="cpu").predict(clips)
    labels = np.array(["band_noise", "siren", "warble"])[expected.argmax(axis=1)]
    if suffix == "csv":
        table = pd.read_csv(out)
        assert list(table) == ["id", "label", "probability", "label_2", "probability_2", "error"]
        first, second = table["probability"], table["probability_2"]
    elif suffix == "jsonl":
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        table = pd.DataFrame(lines)
        assert set(table) == {"id", "label", "probabilities"}
        first, second = zip(*(line["probabilities"].values() for line in lines), strict=True)
    else:
        table = pd.read_parquet(out)
        first, second = zip(*table["probabilities"], strict=True)
        assert [names[0] for names in table["labels"]] == list(labels)
    assert list(table["id"]) == clips and list(table["label"]) == list(labels)
    assert np.allclose(np.sort(expected, axis=1)[:, ::-1][:, :2], np.stack([first, second], axis=1), atol=1e-6)
    assert not out.with_name(f"{out.name}.parts").exists() and len(list(tmp_path.iterdir())) == 1


def test_folders_manifests_and_stdin_name_the_same_clips(folds, tmp_path, monkeypatch, capsys):
    model = folds / "models" / "mfcc" / "mlp"
    files = [Path(path) for path in clip_paths(folds).iloc[:3]]
    sounds = tmp_path / "sounds" / "deep"
    sounds.mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copy(file, sounds / f"{number}{file.suffix}")
    (sounds / "notes.txt").write_text("no audio")
    copies = sorted(path for path in sounds.iterdir() if path.suffix != ".txt")
    predicted = []

    def collect(*arguments: object) -> pd.DataFrame:
        capsys.readouterr()
        assert run("predict", model, *arguments) == 0
        predicted.append(pd.read_csv(io.StringIO(capsys.readouterr().out)))
        return predicted[-1]

    assert list(collect(tmp_path / "sounds")["id"]) == [path.as_posix() for path in copies]
    pd.DataFrame({"path": [f"sounds/deep/{path.name}" for path in copies]}).to_csv(tmp_path / "m.csv", index=False)
    assert list(collect(tmp_path / "m.csv")["id"]) == [f"sounds/deep/{path.name}" for path in copies]
    rows = [{"id": str(at), "path": str(path), "label": "whatever"} for at, path in enumerate(copies)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert list(collect(tmp_path / "m.jsonl")["id"].astype(str)) == ["0", "1", "2"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(str, copies)) + "\n\n"))
    collect("-")
    for other in predicted[1:]:
        pd.testing.assert_frame_equal(other.drop(columns="id"), predicted[0].drop(columns="id"))


def test_a_terminal_shows_a_short_table_and_a_pipe_gets_csv(folds):
    command = [sys.executable, "-m", "audioheads", "predict", folds / "models" / "mfcc" / "mlp"]
    command = [str(part) for part in (*command, clip_paths(folds).iloc[0])]
    master, slave = os.openpty()
    plain = os.environ | {"TERM": "dumb"}  # no bold headings
    subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, env=plain, check=True, timeout=120)
    os.close(slave)
    head, *_ = os.read(master, 4096).decode().splitlines()
    os.close(master)
    assert head.split() == ["file", "label", "score"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert piped.startswith("id,label,probability,label_2,probability_2,")


def test_a_clip_that_fails_is_listed_and_the_others_go_on(folds, tmp_path, capsys):
    model, good = folds / "models" / "mfcc" / "mlp", list(clip_paths(folds).iloc[:2])
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    out = tmp_path / "predicted.jsonl"
    assert run("predict", model, good[0], bad, good[1], "-o", out) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == [good[0], str(bad), good[1]]
    assert set(lines[1]) == {"id", "error"} and "label" in lines[2]
    assert f"failed {bad}" in capsys.readouterr().err
    assert run("predict", model, good[0], bad, good[1], "-o", out, "--strict") == 1
    assert run("predict", model, bad, tmp_path / "gone.wav", good[1], "-o", out) == 1  # more than half
    capsys.readouterr()
    assert run("predict", model, good[0], "-o", bad / "predicted.csv") == 1
    assert f"cannot write in {bad}; choose another output file" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 3


def test_an_interrupted_run_does_not_repeat_finished_clips(folds, tmp_path, monkeypatch, capsys):
    model, clips = folds / "models" / "mfcc" / "mlp", list(clip_paths(folds).iloc[:7])
    whole = HeadEnsemble.settings
    monkeypatch.setattr(HeadEnsemble, "settings", lambda *args: dataclasses.replace(whole(*args), block_rows=2))
    undisturbed, out = tmp_path / "undisturbed.csv", tmp_path / "out.csv"
    assert run("predict", model, *clips, "-o", undisturbed) == 0
    add = Parts.add

    def interrupted(self: Parts, *args: object) -> None:
        if len(list(self.folder.glob("part-*"))) == 2:
            raise KeyboardInterrupt
        add(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "add", interrupted)
        assert run("predict", model, *clips, "-o", out) == 130
    assert not out.exists()
    capsys.readouterr()
    assert run("predict", model, *clips, "-o", out) == 0
    assert "4 already done" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(undisturbed), rtol=1e-5)
    with monkeypatch.context() as patch:  # parts of another model are not used
        patch.setattr(Parts, "add", interrupted)
        assert run("predict", model, *clips, "-o", out, "--fold", "1") == 130
    capsys.readouterr()
    assert run("predict", model, *clips, "-o", out) == 0
    assert "starting over" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_csv(out), pd.read_csv(undisturbed), rtol=1e-5)


def test_windows_are_scored_as_separate_clips(folds, tmp_path):
    model = folds / "models" / "mfcc" / "mlp"
    rate = 16_000
    waves = [read_waveform(Path(path), rate).samples for path in clip_paths(folds).iloc[:4]]
    long = np.concatenate(waves)[: round(2.3 * rate)]
    sf.write(tmp_path / "long.wav", long, rate, "FLOAT")
    out = tmp_path / "predicted.csv"
    arguments = ("--windows", "--window-s", "1", "--hop-s", "0.5", "--fold", "5")
    assert run("predict", model, tmp_path / "long.wav", clip_paths(folds).iloc[0], "-o", out, *arguments) == 0
    table = pd.read_csv(out)
    mine = table[table["id"] == str(tmp_path / "long.wav")]
    assert list(zip(mine["start_s"], mine["end_s"], strict=True)) == [(0, 1), (0.5, 1.5), (1, 2), (1.3, 2.3)]
    pieces = [long[round(start * rate) : round((start + 1) * rate)] for start in mine["start_s"]]
    alone = Predictor.load(model, fold="5", device="cpu").predict(pieces, rate)
    assert np.allclose(alone.max(axis=1), mine["probability"], atol=1e-5)
    assert len(table) == len(mine) + 1
    assert run("predict", model, tmp_path / "long.wav", "--hop-s", "1") == 2


def test_a_slightly_longer_clip_gets_no_extra_window():
    cut = Cut(window_s=2.0, hop_s=1.0)
    assert cut.starts(5.001) == [0.0, 1.0, 2.0, pytest.approx(3.001)]
    assert cut.starts(2.001) == cut.starts(0.3) == [0.0]
    assert cut.starts(5.5) == [0.0, 1.0, 2.0, 3.0, 3.5]
    with pytest.raises(UserError, match="--hop-s 3"):
        Cut(window_s=2.0, hop_s=3.0)


@pytest.mark.e2e
def test_other_weights_than_those_of_training_are_refused(everything):
    model = everything / "models" / "wav2vec2" / "linear"
    file = next(model.glob("*.safetensors"))
    assert Predictor.load(file, device="cpu").labels == ("band_noise", "siren", "warble")
    with pytest.raises(WeightsError, match=r"no folder 'elsewhere'.*--weights PATH"):
        Predictor.load(file, device="cpu", weights="elsewhere")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("models/mfcc/lineer", "did you mean"),
        (".", "contains 22 models; give one of"),
        ("nowhere", "no such model"),
    ],
)
def test_a_path_without_a_model_is_a_one_line_error(everything, given, message):
    with pytest.raises(UserError, match=message):
        Predictor.load(everything / given)


def test_a_run_and_short_names_lead_to_models(folds):
    assert Predictor.load(folds, device="cpu").model.fits == Predictor.load(folds / "mfcc" / "mlp").model.fits


@pytest.mark.e2e
def test_models_ls_lists_models_and_scores(everything, folds, tmp_path, capsys):
    assert run("models", "ls", everything.parents[1]) == 0
    above = capsys.readouterr().out
    assert run("models", "ls", everything.parent) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert len(lines) == 1 + 22 == len(above.splitlines())
    report = pd.read_csv(everything / "report" / "results.csv").set_index(["model", "head", "pooling"])
    row = report.loc[("mfcc", "linear", "mean+std")]
    shown = lines[str(everything / "models" / "mfcc" / "linear")]
    assert f"{row['accuracy']:.3f} ({row['accuracy_ci_low']:.3f}–{row['accuracy_ci_high']:.3f})" in shown
    assert "untrained" in lines[str(everything / "models" / "wav2vec2" / "linear")]
    assert "trained from random weights" in lines[str(everything / "models" / "m5" / "none")]
    folds = shutil.copytree(folds, tmp_path / "small")
    shutil.rmtree(folds / "report")
    assert run("models", "ls", folds) == 0
    line = capsys.readouterr().out.splitlines()[1]
    kept = stored(folds / "models" / "mfcc" / "mlp")
    assert "5 folds × 2 seeds" in line
    assert f"{(kept['target'] == kept['predicted']).groupby(kept['seed']).mean().mean():.3f} (" in line
    assert run("models", "ls", folds / "models" / "mfcc" / "mlp") == 0
    assert "no trained models in" in capsys.readouterr().err


def labelled(root: Path, labels: list[object]) -> Path:
    """A manifest of noises with these labels."""
    rng = np.random.default_rng(0)
    rows = []
    for number, label in enumerate(labels):
        sf.write(root / f"{number}.wav", rng.standard_normal(8000).cumsum() / 300 * (1 + number % 3), 16_000, "FLOAT")
        rows.append({"path": f"{number}.wav", "label": label})
    path = root / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.e2e
@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_multi_label_and_regression_predictions_are_reproduced(task, tmp_path):
    several = [[["a"], ["a", "b"], ["b", "c"], []][number % 4] for number in range(20)]
    labels = several if task == "multi-label" else [0.5 + number % 3 for number in range(20)]
    root = labelled(tmp_path, labels)
    sets = [f"dataset={{kind: jsonl, root: {root}}}", "heads=[{name: linear, l2: [0.1]}, {name: knn, k: [3]}]"]
    run_dir = trained(tmp_path, *sets, "features.backbones=[{name: mfcc}]", "finetune=[]", "seeds=[0]")
    for model in models_of(run_dir):
        kept = stored(model)
        predictor = Predictor.load(model, device="cpu")
        predicted = predictor.predict(list(clip_paths(run_dir)[kept["id"]]))
        assert predictor.task == task and np.abs(predicted - probabilities(kept)).max() < FROZEN
        out = tmp_path / "predicted.csv"
        assert run("predict", model, *clip_paths(run_dir)[kept["id"]], "-o", out, "--top-k", "0") == 0
        table = pd.read_csv(out, keep_default_na=False)
        if task == "regression":
            assert list(table) == ["id", "value", "error"]
            assert np.allclose(table["value"], probabilities(kept)[:, 0], atol=1e-5)
        else:
            assert [cell.split(";") if cell else [] for cell in table["label"]] == [list(p) for p in kept["predicted"]]
            assert {"label_1", "probability_3"} < set(table)
