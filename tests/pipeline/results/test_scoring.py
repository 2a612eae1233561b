"""Tables of every task: columns, order, ties, and additional contents of results.json."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import RunError
from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import SCORES, Score
from pipeline.results.fit import Fit
from pipeline.results.scoring import score
from pipeline.results.table import (
    COLUMNS,
    LATER_COLUMNS,
    METRIC_COLUMNS,
    headings,
    legend,
    markdown,
    shown_rows,
    table_of,
)

N = 90
BALANCED = ("balanced_accuracy", "balanced_accuracy_ci_low", "balanced_accuracy_ci_high")
LAYOUT = {
    "single-label": (*COLUMNS, *BALANCED, "n_groups", *LATER_COLUMNS),
    "multi-label": (*COLUMNS, *METRIC_COLUMNS, "n_groups", *LATER_COLUMNS),
    "regression": (*COLUMNS, *METRIC_COLUMNS, "n_groups", *LATER_COLUMNS),
}
TASKS = ("single-label", "multi-label", "regression")


def manifest(task):
    rng = np.random.default_rng(0)
    labels = {
        "single-label": [f"label{row % 3}" for row in range(N)],
        "multi-label": [[f"label{c}" for c in range(3) if row % 3 == c or rng.random() < 0.2] for row in range(N)],
        "regression": rng.normal(size=N).tolist(),
    }[task]
    ids = [f"c{row:03d}" for row in range(N)]
    return Manifest("toy", ".", pd.DataFrame({"id": ids, "path": ids, "label": pd.Series(labels, dtype=object)}))


def fit(clips, model, noise, rows=range(N), draws=(0,)):
    """Two folds and two seeds of a model that knows the answers, up to noise."""
    from heads.splits.targets import targets_of

    targets = targets_of(clips)
    answers = targets.values[:, None] if clips.task == "regression" else targets.members.astype(float)
    values = targets.values.astype(int) if clips.task == "multi-label" else targets.values
    ids = clips.clips["id"].to_numpy(dtype=object)
    predictions = []
    for seed in (0, 1):
        for draw in draws:
            output = answers + noise * np.random.default_rng([seed, draw]).normal(size=answers.shape)
            if clips.task == "single-label":
                output = np.exp(3 * output) / np.exp(3 * output).sum(axis=1, keepdims=True)
            if clips.task == "multi-label":
                output = 1 / (1 + np.exp(-(output - 0.5) * 4))
            for fold in (1, 2):
                own = [row for row in rows if row % 2 == fold - 1]
                predictions.append(
                    Predictions(
                        output[own].astype(np.float32), values[own], ids[own], fold, seed, model, "linear", "mean", "0",
                        task=clips.task, draw=draw,
                    )
                )  # fmt: skip
    about = {"dataset": "toy", "model": model, "head": "linear", "protocol": "folds", "n_folds": 2, "n_seeds": 2}
    return Fit(Path(model), about, to_table(predictions, clips.labels))


def scored(task, **kwargs):
    clips = manifest(task)
    fits = [fit(clips, name, noise, **kwargs) for name, noise in (("bad", 3.0), ("good", 0.3), ("twin", 0.3))]
    return score(fits, clips, np.arange(N) // 2, 1)


@pytest.mark.parametrize("task", TASKS)
def test_best_first_with_ties_and_an_interval_around_the_score(task):
    rows, details = scored(task)
    table = table_of(rows)
    assert tuple(table.columns) == LAYOUT[task]
    assert set(table["model"][:2]) == {"good", "twin"} and table["tied_with_best"].tolist() == [True, True, False]
    name = "accuracy" if task == "single-label" else "value"
    assert (table[f"{name}_ci_low"] < table[name]).all() and (table[name] <= table[f"{name}_ci_high"]).all()
    assert (table["n_test"] == N).all() and (table["n_failed"] == 1).all()
    for detail in details:
        assert set(detail[f"fold_{name}"]) == {"1", "2"} and set(detail[f"seed_{name}"]) == {"0", "1"}
        assert detail["seed_std"] == pytest.approx(np.std(list(detail[f"seed_{name}"].values()), ddof=1))
        assert detail["mean_of_folds"] == pytest.approx(np.mean(list(detail[f"fold_{name}"].values())))
        assert detail["bootstrap_draws"] == (2000 if task == "multi-label" else 10_000)
        assert "draw_std" not in detail


def test_metric_columns_by_task():
    several, number = (table_of(scored(task)[0]) for task in ("multi-label", "regression"))
    assert (several["metric"] == "mAP").all() and (number["metric"] == "CCC").all()
    for table in (several, number):
        assert table[["accuracy", "accuracy_ci_low", "accuracy_ci_high", "log_loss"]].isna().all(axis=None)
    assert several["macro_f1"].notna().all() and number["macro_f1"].isna().all()


def test_classes_have_intervals():
    _, (bad, *_) = scored("single-label")
    assert list(bad["class_accuracy"]) == list(bad["class_accuracy_ci"]) == ["label0", "label1", "label2"]
    for name, (low, high) in bad["class_accuracy_ci"].items():
        assert 0 <= low < bad["class_accuracy"][name] < high <= 1
    whole = bad["accuracy_ci_high"] - bad["accuracy_ci_low"]
    assert all(high - low > whole for low, high in bad["class_accuracy_ci"].values())


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_macro_f1_has_an_interval(task):
    rows, details = scored(task)
    for row, detail in zip(rows, details, strict=True):
        low, high = detail["macro_f1_ci"]
        assert 0 <= low <= row["macro_f1"] <= high <= 1 and low < high


def test_what_else_is_kept_of_lists_and_numbers():
    _, (bad, *_) = scored("multi-label")
    assert 0 < bad["micro_f1"] < 1
    assert np.mean(list(bad["class_average_precision"].values())) == pytest.approx(bad["value"])
    _, (bad, good, _) = scored("regression")
    assert bad["mse"] > good["mse"] and good["pearson"] > bad["pearson"]


def test_draws_have_a_spread_of_their_own():
    _, details = scored("single-label", draws=(0, 1, 2))
    assert set(details[0]["draw_accuracy"]) == {"0", "1", "2"} and details[0]["draw_std"] > 0
    assert details[0]["accuracy"] == pytest.approx(np.mean(list(details[0]["draw_accuracy"].values())))


@pytest.mark.parametrize("task", TASKS)
def test_people_see_the_score_and_its_interval(task):
    table = table_of(scored(task)[0])
    heads, rows = list(headings(table).values()), shown_rows(table)
    assert all(len(row) == len(heads) for row in rows)
    shown = dict(zip(heads, rows[0], strict=True))
    name, heading = ("accuracy", "accuracy") if task == "single-label" else ("value", "value")
    assert shown[heading] == f"{table[name][0]:.3f}"
    assert shown["95 % interval"] == f"{table[f'{name}_ci_low'][0]:.3f}–{table[f'{name}_ci_high'][0]:.3f}"
    assert [dict(zip(heads, row, strict=True))["best"] for row in rows] == ["best", "tied", ""]
    assert ("accuracy" in heads) == (task == "single-label")
    text = markdown(table, {}, [])
    assert " | ".join(heads) in text and ("mAP" in text) == (task == "multi-label")


def test_models_tested_on_other_clips_are_refused():
    clips = manifest("single-label")
    with pytest.raises(RunError, match="tested on other clips than"):
        score([fit(clips, "a", 1.0), fit(clips, "b", 1.0, rows=range(N - 2))], clips, np.arange(N), 0)


def worst_class(predictions):
    return float(np.nanmin(metrics.per_class_accuracy(predictions)))


def test_a_new_score_is_one_entry_of_the_table(monkeypatch):
    usual = table_of(scored("single-label")[0])
    own = (*SCORES["single-label"], Score("worst class", worst_class, "worst", "worst_class", form=".1%"))
    monkeypatch.setitem(SCORES, "single-label", own)
    rows, details = scored("single-label")
    table = table_of(rows)
    assert tuple(table.columns) == (*COLUMNS, *BALANCED, "worst_class", "n_groups", *LATER_COLUMNS)
    pd.testing.assert_frame_equal(table[list(usual)], usual)
    wanted = {detail["model"]: min(detail["class_accuracy"].values()) for detail in details}
    assert dict(zip(table["model"], table["worst_class"], strict=True)) == pytest.approx(wanted)
    shown = [dict(zip(headings(table).values(), row, strict=True)) for row in shown_rows(table)]
    assert [row["worst"] for row in shown] == [f"{wanted[row['model']]:.1%}" for row in shown]
    assert "| worst |" in markdown(table, {}, [])


def test_a_new_score_without_a_column_is_in_results_json(monkeypatch):
    own = (*SCORES["regression"], Score("bias", lambda runs: float(np.mean([one.predicted.mean() for one in runs]))))
    monkeypatch.setitem(SCORES, "regression", own)
    rows, details = scored("regression")
    assert tuple(table_of(rows).columns) == LAYOUT["regression"]
    assert all(np.isfinite(detail["bias"]) for detail in details)


@pytest.mark.parametrize("task", TASKS)
def test_what_ranks_models_has_intervals(task):
    first, *others = SCORES[task]
    assert first.estimation is not None and first.higher_is_better and first.column in ("accuracy", "value")
    assert not any(one.estimation for one in others), "only the first score ranks models"
    with_interval = {"single-label": ["macro_f1", "balanced_accuracy"], "multi-label": ["macro_f1"], "regression": []}
    assert [one.name for one in others if one.interval] == with_interval[task]


def test_throughput_measured_on_a_busy_machine_is_marked():
    rows, _ = scored("single-label")
    loads = {"good": 4.8, "twin": 0.9, "bad": None}
    table = table_of([row | {"extract_clips_per_s": 39.14, "extract_load": loads[row["model"]]} for row in rows])
    shown = [dict(zip(headings(table).values(), row, strict=True)) for row in shown_rows(table)]
    assert {row["model"]: row["clips/s"] for row in shown} == {"good": "39.1*", "twin": "39.1", "bad": "39.1"}
    assert "*: measured while the load of the machine exceeded its cores" in legend(table)
    assert "load" not in legend(table[table["model"] != "good"])
    assert "load" not in legend(table, hidden=["MB", "clips/s"])
