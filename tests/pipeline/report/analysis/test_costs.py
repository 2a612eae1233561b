"""Costs and the Pareto front, worked out by hand."""

import dataclasses

import numpy as np
import pytest

from pipeline.report.analysis.costs import costs_of, pareto_front
from pipeline.report.render.page import render
from pipeline.report.sections import cost
from pipeline.results.device_costs import write_device_costs
from tests.pipeline.report.toy_studies import manifest_of, study_of

HOSTILE = "<script>alert(1)</script>"


def study(tmp_path, about):
    """Three models on 20 clips, right on 20, 15 and 10 of them."""
    manifest = manifest_of([f"c{row % 2}" for row in range(20)])
    truth = np.arange(20) % 2
    probabilities = {}
    for at, title in enumerate(about):
        wrong = np.arange(20) < 5 * at
        probabilities[title] = np.eye(2)[np.where(wrong, 1 - truth, truth)][None]
    return study_of(manifest, probabilities, folder=tmp_path, about=about)


def test_the_front_has_the_points_that_no_other_dominates():
    points = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (1.0, 0.4), (4.0, 0.9), (0.5, 0.1)]
    assert pareto_front(points) == [5, 0, 1]
    assert pareto_front([(1.0, 0.5), (1.0, 0.5), (2.0, 0.5)]) == [0, 1]
    assert pareto_front([(1.0, 0.5)]) == [0] and pareto_front([]) == []


def test_seconds_are_those_of_all_clips_and_of_training(tmp_path):
    found = costs_of(study(tmp_path, {"a · linear": {"extract_device": "cpu", "train_device": "cpu"}, "b · mlp": {}}))
    first, second = found
    assert (first.title, first.head, first.score) == ("a · linear", "linear", 1.0)
    assert first.clip_s == pytest.approx(1 / 50)
    assert first.total_s == pytest.approx(20 / 50 + 2.5)
    assert (first.device, second.device) == ("cpu", "")
    assert (second.score, second.parameters) == (0.75, 1_000_000)


def test_failed_clips_cost_no_embedding(tmp_path):
    toy = study(tmp_path, {"a · linear": {}})
    inputs = dataclasses.replace(toy.inputs, failures={"clip0003.wav": "cut short"})
    assert costs_of(dataclasses.replace(toy, inputs=inputs))[0].total_s == pytest.approx(19 / 50 + 2.5)


def test_the_front_is_a_step_line_and_models_without_cost_are_omitted(tmp_path):
    about = {
        "best · linear": {"train_seconds": 90.0, "params_total": None},
        "middle · linear": {"train_seconds": 10.0, "params_total": 0},
        "worst · linear": {"train_seconds": 20.0, "params_total": 500},
    }
    section = cost.section(study(tmp_path, about))
    figure = section.figures["seconds"]
    front, *models = figure.series
    assert front.dashed and list(front.x) == pytest.approx([10.4, 90.4, 90.4, 90.4])
    assert list(front.y) == [0.75, 0.75, 1.0, 1.0]
    assert {one.name: list(one.labels) for one in models} == {
        "best": ["best · linear"],
        "middle": ["middle · linear"],
        "worst": [""],
    }
    assert all(low <= y <= high for one in models for low, y, high in zip(one.y_low, one.y, one.y_high, strict=True))
    assert [one.name for one in section.figures["parameters"].series] == ["Pareto front", "worst"]
    assert [measure.key for measure in section.context["measures"]] == list(section.figures)
    assert section.context["unknown"] == ["best · linear"] and section.context["without"] == ["middle · linear"]


def test_each_device_has_its_own_front(tmp_path):
    about = {
        "a · linear": {"extract_device": "cpu", "train_device": "cpu", "train_seconds": 50.0},
        "b · linear": {"extract_device": "cuda: H100", "train_device": "cpu", "train_seconds": 5.0},
        "c · linear": {"extract_device": "cpu", "train_device": "cpu", "train_seconds": 9.0},
    }
    toy = study(tmp_path, about)
    section = cost.section(toy)
    fronts = {one.name: list(one.y) for one in section.figures["seconds"].series if one.dashed}
    assert fronts == {"Pareto front, cpu": [0.5, 0.5, 1.0, 1.0], "Pareto front, cuda: H100 + cpu": [0.75, 0.75]}
    assert "Costs on different devices are not comparable" in str(render(section, toy).html)


def test_there_is_no_section_without_costs(tmp_path):
    nothing = {"extract_clips_per_s": None, "train_seconds": None, "params_total": None}
    assert cost.section(study(tmp_path, {"a · linear": nothing})) is None


def test_an_untrained_control_is_marked_and_names_stay_text(tmp_path):
    toy = study(tmp_path, {f"{HOSTILE} · linear": {"weights": "untrained"}, "b · linear": {}})
    section = cost.section(toy)
    assert f"{HOSTILE} (untrained)" in [one.name for one in section.figures["seconds"].series]
    html = str(render(section, toy).html)
    assert HOSTILE not in html and "&lt;script&gt;" in html


def test_time_and_size_on_the_device_are_shown_if_they_were_measured(tmp_path):
    toy = study(tmp_path, {"a · linear": {"train_device": "cuda"}, "b · mlp": {"train_device": "cpu"}})
    assert {"latency", "size"}.isdisjoint(cost.section(toy).figures)
    machine = {"processor": "<b>fast</b>", "threads": 2, "load": 1.5}
    for model, latency_ms in zip(toy.models, (20.0, 2.0), strict=True):
        costs = {"latency_ms": latency_ms, "realtime_factor": 3000 / latency_ms, "size_mb": 0.5, "machine": machine}
        write_device_costs(model.fit.folder, {}, costs)
    toy = study(tmp_path, {"a · linear": {"train_device": "cuda"}, "b · mlp": {"train_device": "cpu"}})
    assert [one.latency_ms for one in costs_of(toy)] == [20.0, 2.0]
    section = cost.section(toy)
    front, *models = section.figures["latency"].series
    assert front.name == "Pareto front"  # one device, whatever trained them
    assert list(front.x) == [2.0, 20.0, 20.0, 20.0]
    assert [list(one.x) for one in models] == [[20.0], [2.0]]
    assert [list(one.x) for one in section.figures["size"].series[1:]] == [[0.5], [0.5]]
    (condition,) = section.context["conditions"]
    assert condition.startswith("<b>fast</b>, 2 threads; other programs kept the machine busy (load 1.5 per core)")
    page = str(render(section, toy).html)
    assert "<b>fast" not in page and '<td class="number">20.0</td><td class="number">150</td>' in page
