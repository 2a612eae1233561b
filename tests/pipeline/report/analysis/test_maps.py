"""Maps show the embeddings that the best head read, in page order, and are computed once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from features.pooling import POOLINGS
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.report.analysis.embedding_maps.maps import projection_of, views
from pipeline.report.analysis.embedding_maps.projection import PCA, TSNE, project
from pipeline.report.analysis.samples import sampled_clips
from pipeline.report.render.embedded import json_text
from pipeline.report.render.page import render
from pipeline.report.sections import embedding_map
from pipeline.report.sections.embedding_map import colour_names
from pipeline.report.study import gather
from pipeline.stages.features import run_features
from pipeline.stages.train_heads import run_heads
from tests.pipeline.report.toy_studies import random_study

CONFIG = """
name: mapped
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 0.6, classes: [siren, warble]}}
features:
  pooling: [mean, std]
  backbones: [{{name: mfcc}}, {{name: wav2vec2, weights: random, size: tiny}}]
heads: [{{name: linear}}, {{name: weighted-sum, max_epochs: 2}}]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("mapped")
    (root / "mapped.yaml").write_text(CONFIG.format(root=root))
    config = load_config(root / "mapped.yaml")
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())
    return gather(config)


def test_a_map_shows_the_layer_that_the_best_head_chose_most(study):
    seen = views(study)
    assert set(seen) == {"mfcc", "wav2vec2"}
    for label, view in seen.items():
        assert view.poolings == ("mean", "std") and view.model.row["model"] == label
        chosen = [fit["layer"] for fit in view.model.details["chosen"]]
        if label == "wav2vec2":  # weighted-sum reads all layers: the map is of the linear head's
            assert view.model.row["head"] == "linear"
            assert chosen.count(view.layer) == max(map(chosen.count, chosen))
    best = next(model for model in study.models if model.row["model"] == "mfcc")
    assert seen["mfcc"].model is best  # with a single layer, any head can be the best


def test_points_are_the_projected_embeddings_of_the_clips_in_page_order(study):
    view = views(study)["wav2vec2"]
    clips = np.array([3, 0, 11, 7, 19, 5])
    made = projection_of(study, "wav2vec2", view, PCA, clips)
    table, ids = study.inputs.tables["wav2vec2"], study.manifest.clips["id"].iloc[study.tested[clips]]
    position = {clip: at for at, clip in enumerate(table.ids)}
    at, layer = [position[clip] for clip in ids], table.spec.layers.index(view.layer)
    vectors = np.concatenate([table.embeddings(pooling)[at, layer] for pooling in POOLINGS[:2]], axis=1)
    wanted = project(vectors, PCA)
    assert made.coordinates == pytest.approx(wanted.coordinates, abs=6e-4)
    assert made.explained == pytest.approx(wanted.explained, abs=6e-5)


def test_a_map_is_computed_once_and_again_where_anything_differs(study):
    view, clips = views(study)["mfcc"], np.arange(12)
    path = study.config.run_dir / "maps" / "mfcc-t-sne.json"
    made = projection_of(study, "mfcc", view, TSNE, clips)
    kept = json.loads(path.read_text())
    assert kept["x"] == made.coordinates[:, 0].tolist() and len(kept["ids"]) == 12

    marked = {**kept, "x": [0.125] * 12}
    path.write_text(json.dumps(marked))
    assert (projection_of(study, "mfcc", view, TSNE, clips).coordinates[:, 0] == 0.125).all()

    others = (replace(view, poolings=("mean",)), view)
    for other, subset in zip(others, (clips, clips[:-1]), strict=True):
        path.write_text(json.dumps(marked))
        again = projection_of(study, "mfcc", other, TSNE, subset).coordinates
        assert (again[:, 0] != 0.125).any() and len(again) == len(subset)

    for damaged in ("", "{", json.dumps({"key": kept["key"], "x": [1]}), json.dumps({**kept, "x": kept["x"][:-1]})):
        path.write_text(damaged)
        assert projection_of(study, "mfcc", view, TSNE, clips).coordinates == pytest.approx(made.coordinates)


def test_the_section_colours_clips_by_class_and_each_point_plays_its_own(study):
    section = embedding_map.section(study)
    assert list(section.figures) == ["mfcc-t-sne", "mfcc-pca", "wav2vec2-t-sne", "wav2vec2-pca"] or list(
        section.figures
    ) == ["wav2vec2-t-sne", "wav2vec2-pca", "mfcc-t-sne", "mfcc-pca"]
    labels = study.manifest.clips["label"].iloc[study.tested].tolist()
    for figure in section.figures.values():
        assert sorted(clip for series in figure.series for clip in series.clips) == list(range(len(labels)))
        for series in figure.series:
            assert {labels[clip] for clip in series.clips} == {series.name}
            assert len(series.x) == len(series.y) == len(series.clips)
    assert "of the variance" in section.figures["mfcc-pca"].x.title
    assert str(render(section, study).html).count('class="figure"') == 4
    json_text(section.data)


def test_many_clips_are_drawn_from_and_no_cache_leaves_no_map(tmp_path):
    study = random_study(60, 4, 2, folder=tmp_path)
    assert sampled_clips(study, 60).tolist() == list(range(60))
    some = sampled_clips(study, 20)
    assert len(set(some)) == 20 and (np.diff(some) > 0).all() and some.tolist() == sampled_clips(study, 20).tolist()
    assert embedding_map.section(study) is None


def test_colours_of_other_tasks():
    assert colour_names([("a",), ("a", "b"), ()], "multi-label") == ["a", "several labels", "no label"]
    fifths = colour_names([float(value) for value in range(10)], "regression")
    assert fifths[0] == fifths[1] == "1: 0 to 1.8" and fifths[-1] == "5: 7.2 to 9"
    assert len(set(fifths)) == 5
