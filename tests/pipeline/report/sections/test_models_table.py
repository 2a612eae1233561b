"""The columns of the results table: which come first, which are shown on demand, and how they sort."""

import numpy as np

from pipeline.report.sections.results.answer import section
from pipeline.report.sections.results.models_table import LATENCY, columns_of, models_table
from pipeline.results import table as results_table
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of


def test_the_deciding_columns_come_first(tmp_path):
    columns = columns_of(random_study(40, 4, 2, folder=tmp_path))
    first = [column.heading for column in columns if not column.is_more]
    assert first == ["accuracy", "95 % interval", "best", "macro F1", "log loss"]
    assert [column.heading for column in columns[: len(first)]] == first
    assert {"layer", "pooling", "weights", "clips/s", "balanced accuracy"} <= {own.heading for own in columns}
    assert not {"model", "head"} & {column.heading for column in columns}  # both are in the first cell


def test_costs_and_losses_sort_from_the_lowest(tmp_path):
    columns = columns_of(random_study(40, 4, 2, folder=tmp_path))
    assert {own.heading for own in columns if own.is_lower_better} == {"log loss", "train s", "dim"}


def test_a_latency_is_among_the_first_columns(tmp_path, monkeypatch):
    monkeypatch.setitem(results_table.SHOWN_LAST, LATENCY, "latency ms")
    study = random_study(40, 4, 2, folder=tmp_path)
    study.table[LATENCY] = [1.5, 2.5]
    column = next(own for own in columns_of(study) if own.key == LATENCY)
    assert (column.is_more, column.is_lower_better, column.is_number) == (False, True, True)


def test_a_model_and_its_head_are_one_cell(tmp_path):
    study = random_study(40, 4, 4, folder=tmp_path)
    rows = models_table(study).rows
    assert [(str(row.model.row["model"]), row.head) for row in rows] == [
        tuple(model.title.split(" · ")) for model in study.models
    ]
    assert rows[0].mark == "best"


def test_every_interval_is_within_the_scale_of_the_bars(tmp_path):
    made = {"a · linear": np.full((1, 40, 2), 0.5), "b · linear": np.eye(2)[np.arange(40) % 2][None]}
    study = study_of(manifest_of(["x", "y"] * 20), made, folder=tmp_path)
    for row in models_table(study).rows:
        assert row.bar is not None and 0 <= row.bar.low <= row.bar.at <= row.bar.high <= 100


def test_the_mark_of_a_busy_machine_is_explained_where_its_column_is_shown(tmp_path):
    study = random_study(40, 4, 2, folder=tmp_path)
    assert section(study).context["busy"] == ""
    study.table["extract_load"] = 4.0
    study.table["extract_clips_per_s"] = 39.1
    context = section(study).context
    assert context["busy"] == results_table.BUSY
    assert results_table.BUSY not in context["legend"]
    speed = next(own for own in context["table"].columns if own.heading == results_table.THROUGHPUT)
    assert speed.is_more  # the span of the note has the same class
