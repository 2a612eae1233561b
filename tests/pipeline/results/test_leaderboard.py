"""The leaderboard: ranks computed by hand, which rows are comparable, and invalid tables."""

from pathlib import Path

import pandas as pd
import pytest

from features.errors import UserError
from pipeline.console import Console
from pipeline.results.leaderboard.tables import run_leaderboard
from pipeline.results.table import COLUMNS

TEXTS = {
    "dataset": "esc10",
    "family": "frozen",
    "weights": "none",
    "layer": "0",
    "pooling": "mean",
    "head": "linear",
    "protocol": "folds",
}


def run(name: str, *rows: dict, columns: tuple[str, ...] = COLUMNS, folder: str = "runs") -> Path:
    """Write a run's results: each row `{model, accuracy, …}` over common values."""
    table = []
    for row in rows:
        accuracy = row.get("accuracy", 0.5)
        numbers = dict.fromkeys(set(COLUMNS) - set(TEXTS) - {"model"}, 1)
        interval = {"accuracy_ci_low": accuracy and accuracy - 0.1, "accuracy_ci_high": accuracy and accuracy + 0.1}
        usual = {"accuracy": accuracy, "n_test": 400, "tied_with_best": False}
        table.append(TEXTS | numbers | usual | interval | row)
    path = Path(folder) / name / "report" / "results.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame(table)[list(columns)].to_csv(path, index=False)
    return path.parent.parent


def board(*paths: str, sort: str = "rank", runs: str = "runs", **filters: list[str]) -> pd.DataFrame:
    """The leaderboard's rows, read back from its CSV."""
    out = Path("board.csv")
    run_leaderboard(
        [Path(path) for path in paths], runs=Path(runs), filters=filters, sort=sort, csv=out, console=Console()
    )
    return pd.read_csv(out, keep_default_na=False, na_values=[""])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_ranks_within_a_dataset_and_mean_ranks_over_models_on_every_board(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("one", {"model": "a", "accuracy": 0.9, "tied_with_best": True}, {"model": "b", "accuracy": 0.8})
    run("two", {"model": "c", "accuracy": 0.8}, {"model": "d", "accuracy": 0.85})
    run("three", *({"dataset": "fsdd", "model": m, "accuracy": s} for m, s in (("b", 0.7), ("a", 0.6), ("c", 0.5))))
    rows = board().set_index(["dataset", "model"])
    esc10 = rows.loc["esc10"]
    assert esc10["rank"].to_dict() == {"a": 1, "d": 2, "b": 3.5, "c": 3.5}
    assert rows.loc["fsdd", "rank"].to_dict() == {"b": 1, "a": 2, "c": 3}
    # among a, b and c alone: esc10 1, 2.5, 2.5; fsdd 2, 1, 3
    means = {model: esc10["mean_rank"][model] for model in "abc"}
    assert means == {"a": 1.5, "b": 1.75, "c": 2.75} and pd.isna(esc10["mean_rank"]["d"])
    assert esc10["run"].to_dict() == {"a": "one", "b": "one", "c": "two", "d": "two"}
    out = capsys.readouterr().out
    assert "mean rank: over 2 datasets, among the 3 models that are on every board" in out
    assert "0.800–1.000" in out and "leaderboard: 7 rows of 3 runs → board.csv" in out


def test_protocols_and_metrics_of_a_dataset_are_ranked_separately_with_a_note(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("official", {"model": "a", "accuracy": 0.6}, {"model": "b", "accuracy": 0.7})
    run("drawn", {"model": "a", "accuracy": 0.9, "protocol": "kfold"})
    rows = board()
    assert rows.set_index(["protocol", "model"])["rank"].to_dict() == {
        ("folds", "b"): 1,
        ("folds", "a"): 2,
        ("kfold", "a"): 1,
    }
    assert rows["mean_rank"].isna().all()
    out = capsys.readouterr().out
    assert "note: esc10: protocols folds, kfold are not comparable and are ranked separately" in out
    assert "mean rank" not in out
    assert board(protocol=["kfold"])["model"].tolist() == ["a"]
    assert "not comparable" not in capsys.readouterr().out


def test_a_dataset_with_two_boards_counts_once_in_the_mean_rank() -> None:
    for name, dataset, protocol, best in (
        ("one", "esc10", "folds", "a"),
        ("two", "esc10", "kfold", "a"),
        ("three", "fsdd", "split", "b"),
    ):
        common = {"dataset": dataset, "protocol": protocol}
        run(name, *({"model": model, "accuracy": 0.9 if model == best else 0.5, **common} for model in "ab"))
    assert board().groupby("model")["mean_rank"].unique().map(list).to_dict() == {"a": [1.5], "b": [1.5]}


def test_tables_of_another_metric_are_ranked_by_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (*COLUMNS, "metric", "value", "value_ci_low", "value_ci_high")
    value = {"metric": "mAP", "value_ci_low": 0.2, "value_ci_high": 0.45, "accuracy": None, "dataset": "tags"}
    run("tags", {"model": "a", "value": 0.3, **value}, {"model": "b", "value": 0.4, **value}, columns=columns)
    run("plain", {"model": "a", "accuracy": 0.9})
    rows = board()
    assert rows.set_index(["dataset", "model"])["rank"].to_dict() == {
        ("esc10", "a"): 1,
        ("tags", "b"): 1,
        ("tags", "a"): 2,
    }
    assert rows["value"].tolist()[1:] == [0.4, 0.3] and rows["metric"].tolist() == ["accuracy", "mAP", "mAP"]
    out = capsys.readouterr().out
    assert "tags: protocol folds, mAP, 400 clips tested" in out and "0.200–0.450" in out
    assert tuple(board("plain").columns) == (*COLUMNS, "run", "rank", "mean_rank")


def test_tied_is_shown_only_where_rows_were_compared_with_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    tied = {"tied_with_best": True}
    best = {"accuracy": 0.95} | tied
    run("one", {"model": "a", "accuracy": 0.9} | tied, {"model": "b", "accuracy": 0.88} | tied, {"model": "c"})
    run("two", {"model": "d", "accuracy": 0.89} | tied)
    board()
    marks = {line.split()[1]: line.split()[-2] for line in capsys.readouterr().out.splitlines() if " none " in line}
    assert marks == {"a": "best", "b": "tied", "c": "1.0", "d": "–"}
    board(model=["b", "d"])  # the best of run one, with which b was compared, is not shown
    marks = {line.split()[1]: line.split()[-2] for line in capsys.readouterr().out.splitlines() if " none " in line}
    assert marks == {"b": "–", "d": "best"}
    run(
        "three", {"model": "e", "accuracy": 0.87} | tied, {"model": "f", "accuracy": 0.86} | tied, {"model": "g"} | best
    )
    board("three", model=["e", "f"])
    marks = {line.split()[1]: line.split()[-2] for line in capsys.readouterr().out.splitlines() if " none " in line}
    assert marks == {"e": "best", "f": "–"}


def test_filters_and_sorting() -> None:
    run("one", {"model": "wav2vec2-base", "log_loss": 3, "accuracy": 0.5}, {"model": "mfcc", "log_loss": 1})
    run("two", {"model": "wav2vec2-large", "log_loss": 2, "accuracy": 0.7}, {"model": "mfcc", "head": "mlp"})
    assert set(board(model=["WAV2*"])["model"]) == {"wav2vec2-base", "wav2vec2-large"}
    assert board(model=["wav2vec2-base", "mfcc"], head=["mlp"])[["model", "head", "rank"]].values.tolist() == [
        ["mfcc", "mlp", 1]
    ]
    wav = {"model": ["wav*"]}
    assert board(sort="accuracy", **wav)["accuracy"].tolist() == [0.7, 0.5]
    assert board(sort="-accuracy", **wav)["accuracy"].tolist() == [0.5, 0.7]
    assert board(sort="log_loss", **wav)["log_loss"].tolist() == [2, 3]
    with pytest.raises(UserError, match=r"--sort acuracy: no such column, did you mean 'accuracy'\?"):
        board(sort="acuracy")
    with pytest.raises(UserError, match=r"--head knn: no row matches; available: linear, mlp"):
        board(head=["knn"])


def test_duplicate_rows_are_shown_once_and_other_rows_of_a_model_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    run("one", {"model": "a", "accuracy": 0.9}, {"model": "b", "accuracy": 0.7})
    run("copy", {"model": "a", "accuracy": 0.9})
    run("again", {"model": "a", "accuracy": 0.5})
    for model, accuracy in (("a", 0.6), ("b", 0.5)):
        run(f"fsdd-{model}", {"model": model, "accuracy": accuracy, "dataset": "fsdd"})
    rows = board("runs", "one", "runs/one/report/results.csv")
    assert len(rows) == 5
    assert rows.groupby("model")["mean_rank"].unique().map(list).to_dict() == {"a": [1.25], "b": [1.75]}
    out = capsys.readouterr().out
    assert "note: 1 row(s) of one duplicate rows of another run and are shown once" in out
    assert "note: esc10, protocol folds: a linear has 2 rows, from copy, again" in out


def test_runs_of_one_name_are_told_apart_and_other_clips_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    run("one", {"model": "a"})
    run("one", {"model": "b", "n_test": 398}, folder="old")
    assert board("one", "old")["run"].tolist() == [str(Path("runs/one").resolve()), str(Path("old/one").resolve())]
    assert "rows tested 398, 400 clips, so the test clips differ" in capsys.readouterr().out


def test_an_older_table_without_some_columns_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    run("old", {"model": "a", "accuracy": 0.9}, columns=("dataset", "model", "head", "accuracy"))
    run("new", {"model": "b", "accuracy": 0.8, "layer": "3..9", "weights": "NA"})
    rows = board()
    assert rows.set_index("model")["protocol"].to_dict() == {"a": "unknown", "b": "folds"}
    assert rows.set_index("model")["rank"].to_dict() == {"a": 1, "b": 1}
    assert rows.set_index("model")["weights"]["b"] == "NA"
    assert [line for line in capsys.readouterr().out.splitlines() if "0.900" in line and "–" in line]


def test_its_own_csv_can_be_read_again() -> None:
    run("one", {"model": "a", "accuracy": 0.9}, {"model": "b", "accuracy": 0.8})
    first = board()
    Path("board.csv").rename("before.csv")
    again = board("before.csv")
    assert again.drop(columns="run").equals(first.drop(columns="run"))


def test_folders_without_results_name_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    run("one", {"model": "a"})
    for name in ("untrained", "empty"):
        Path(f"runs/{name}").mkdir()
    Path("runs/untrained/config.yaml").touch()
    assert len(board()) == 1
    assert "note: untrained has no report yet and is skipped; `audioheads report runs/untrained/config.yaml`" in (
        capsys.readouterr().out
    )
    with pytest.raises(UserError, match=r"runs/untrained: has no report/results.csv; `audioheads report runs/unt"):
        board("untrained")
    with pytest.raises(UserError, match=r"runs/empty: has no report/results.csv; `audioheads report CONFIG` creates"):
        board("empty")
    with pytest.raises(UserError, match=r"oen: no such run or folder, did you mean 'one'\?; `audioheads report"):
        board("oen")


def test_without_any_report_a_note_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    run_leaderboard([], runs=Path("nowhere"), filters={}, sort="rank", csv=None, console=Console())
    assert "no reports in nowhere; `audioheads report CONFIG` writes one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "cannot be read as a results table"),
        (b"\xff\xfe\x00", "cannot be read as a results table"),
        (b"dataset,model,head,accuracy\n", "has no rows"),
        (b"dataset,model,head\nx,y,z\n", "has no column 'accuracy'"),
        (b"dataset,head,accuracy\nx,z,1\n", "has no column 'model'"),
        (b"dataset,model,head,accuracy\nx,y,z,high\n", "accuracy is 'high' in row 1, not a number"),
        (b"dataset,model,head,accuracy\nx,y,z,\n", "y z has neither accuracy nor value"),
    ],
)
def test_a_file_that_is_no_results_table_is_one_line(text: bytes, message: str) -> None:
    Path("results.csv").write_bytes(text)
    with pytest.raises(UserError, match=message) as caught:
        board("results.csv")
    assert str(caught.value).startswith("results.csv: ") and "\n" not in str(caught.value)


def test_a_config_names_its_run() -> None:
    run("one", {"model": "a"})
    run("two", {"model": "b"})
    Path("two.yaml").write_text("dataset: {kind: esc50, root: nowhere}\n")
    assert board("two.yaml")["model"].tolist() == ["b"]


BASELINE = {"model": "majority", "family": "baseline", "head": "", "pooling": "", "layer": "", "accuracy": 0.1}
LATER = (*COLUMNS, "n_groups")


def test_runs_without_groups_are_marked_below_their_board(capsys: pytest.CaptureFixture[str]) -> None:
    run("plain", {"model": "a", "n_groups": 0}, columns=LATER)
    sentence = (
        "Every clip counted as independent, because no groups are known: if clips share a speaker or recording, the "
        "score is too high."
    )
    board()
    out = " ".join(capsys.readouterr().out.split())
    assert f" {sentence}" in out and f"plain: {sentence}" not in out
    run("speakers", {"model": "a", "accuracy": 0.4, "n_groups": 6}, columns=LATER)
    run("old", {"model": "b"})
    rows = board()
    assert f"plain: {sentence}" in " ".join(capsys.readouterr().out.split())
    assert rows.set_index("run")["n_groups"].dropna().to_dict() == {"plain": 0, "speakers": 6}
    board("runs/speakers")
    assert "independent" not in capsys.readouterr().out


def test_one_majority_row_for_the_same_clips(capsys: pytest.CaptureFixture[str]) -> None:
    run("one", {"model": "a", "n_groups": 6}, {**BASELINE, "n_groups": 6, "tied_with_best": True}, columns=LATER)
    run("two", {"model": "b", "n_groups": 6}, {**BASELINE, "n_groups": 6}, columns=LATER)
    rows = board()
    assert rows["model"].tolist() == ["a", "b", "majority"] and rows["rank"].tolist() == [1.5, 1.5, 3]
    assert "note: " not in capsys.readouterr().out
