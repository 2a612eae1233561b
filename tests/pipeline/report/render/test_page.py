"""The page is one file, names stay text, and its numbers equal those of the other files."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from features.audio.decoding import Waveform
from features.errors import RunError, UserError
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.report.analysis.clips import clips_json
from pipeline.report.render.embedded import json_text
from pipeline.report.render.files import FILES
from pipeline.report.render.page import ICON, Part, page_of
from pipeline.report.render.pictures import picture_of
from pipeline.report.run import run_report
from pipeline.report.section import build, clips_of
from pipeline.report.sections import SECTIONS
from pipeline.report.study import gather
from tests.pipeline.report.experiments import LABELS, hostile_experiment
from tests.pipeline.report.hostile import NAMES
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of

VOID = {"meta", "input", "br", "img", "link", "hr", "col", "source", "wbr"}


class Page(HTMLParser):
    """A page's tags, attributes, and the cells of its results table; every element must be closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.rows, self.heads, self.scripts = [], [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes))
        if tag == "tr" and self._in("results") and self._tags() >= {"tbody"}:
            self.rows.append([])
        if tag in ("td", "th") and self._in("results"):
            (self.rows[-1] if "tbody" in self._tags() else self.heads).append("")
        if tag == "script":
            self.scripts.append((attributes, ""))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._in("results") and {"td", "th"} & self._tags():
            cells = self.rows[-1] if "tbody" in self._tags() else self.heads
            cells[-1] += data

    def _tags(self):
        return {tag for tag, _ in self.open}

    def _in(self, name):
        return any(name in (attributes.get("class") or "").split() for _, attributes in self.open)

    def results(self):
        """The results table by heading, with the name of each model divided into `model` and `head`."""
        rows = [dict(zip(self.heads, map(str.strip, row), strict=True)) for row in self.rows]
        for row in rows:
            row["model"], _, row["head"] = row["model"].removesuffix("untrained").strip().partition(" · ")
        return rows


def read(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def page_of_study(study):
    sections = build(study, SECTIONS)
    return page_of([Part(study, sections, [None] * len(clips_of(sections)))])


def markdown_rows(text):
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    heads = [cell.strip() for cell in lines[0]]
    return [dict(zip(heads, (cell.strip().replace("\\", "") for cell in line), strict=True)) for line in lines[2:]]


def latex_rows(text):
    head = text.partition("\\toprule\n")[2].partition("\\\\")[0]
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    heads = [cell.strip().replace("\\", "") for cell in head.split("&")]
    plain = [line.removesuffix(r" \\").replace("--", "–").replace("\\_", "_") for line in body.splitlines()]
    return [dict(zip(heads, (cell.strip() for cell in line.split(" &")), strict=True)) for line in plain]


def test_all_files_show_the_numbers_of_the_csv(hostile):
    folder = hostile.run_dir / "report"
    texts = {name: "" for name in ("head", "pooling", "layer", "weights")}
    table = pd.read_csv(folder / "results.csv").fillna(texts | {"weights": "none"})
    stored = json.loads((folder / "results.json").read_text())["rows"]
    shown = [
        read(folder).results(),
        markdown_rows((folder / "results.md").read_text()),
        latex_rows((folder / "results.tex").read_text()),
    ]
    assert len(table) == 5
    for at, row in enumerate(table.to_dict("records")):
        assert {key: value for key, value in stored[at].items() if key in row and value not in (None, "")} == {
            key: pytest.approx(value) if isinstance(value, float) else value for key, value in row.items()
            if value != "" and value == value
        }  # fmt: skip
        for rows in shown:
            found = rows[at]
            assert (found["model"], found["head"], found["weights"]) == (row["model"], row["head"], row["weights"])
            assert found["accuracy"] == f"{row['accuracy']:.3f}"
            assert found["95 % interval"] == f"{row['accuracy_ci_low']:.3f}–{row['accuracy_ci_high']:.3f}"
            assert found["macro F1"] == f"{row['macro_f1']:.3f}" and found["log loss"] == f"{row['log_loss']:.3f}"
            assert found["train s"] == ("–" if row["model"] == "majority" else f"{row['train_seconds']:.1f}")
            assert found["best"] == ("best" if at == 0 else "tied" if row["tied_with_best"] else "")


def test_the_answer_is_the_same_everywhere(hostile):
    folder = hostile.run_dir / "report"
    lines = json.loads((folder / "results.json").read_text())["answer"].split("\n")
    page = (folder / "index.html").read_text()
    shown = re.search(r'<p class="answer">(.*?)</p>', page, flags=re.DOTALL)[1]
    shown = [re.sub(r"</?(strong|bdi)>", "", line) for line in re.findall(r'<span class="line">(.*?)</span>', shown)]
    assert shown == lines and len(lines) == 3
    assert "  \n".join(lines).replace("_", "\\_").replace("`", "\\`") in (folder / "results.md").read_text()


def test_classes_are_kept_with_intervals_beside_the_results(hostile):
    table = pd.read_csv(hostile.run_dir / "report" / "classes.csv")
    results = pd.read_csv(hostile.run_dir / "report" / "results.csv")
    assert table["model"].value_counts().to_dict() == {"mfcc": 8, "wav2vec2": 8, "majority": 4}
    assert (table.groupby(["model", "head"], dropna=False)["support"].sum() == 36).all()
    for measure in ("precision", "recall", "f1"):
        value, low, high = (table[f"{measure}{end}"] for end in ("", "_ci_low", "_ci_high"))
        known = value.notna()
        assert (low[known] <= value[known]).all() and (value[known] <= high[known]).all()
        assert (low[known] < high[known]).all() and low[~known].isna().all()
    kept = table.groupby(["model", "head"], dropna=False)["recall"].mean()
    balanced = results.set_index(["model", "head"])["balanced_accuracy"]
    assert kept.to_dict() == pytest.approx(balanced.to_dict(), nan_ok=True)
    section = (hostile.run_dir / "report" / "index.html").read_text().split("Precision, recall and F1")[1]
    assert "{recall:.3f} ({recall_ci_low:.3f}–{recall_ci_high:.3f})".format(**table.iloc[0]) in section


def test_no_name_is_markup_anywhere_in_the_page(hostile):
    page = read(hostile.run_dir / "report")
    assert not {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "base", "form"}
    assert [attributes["rel"] for tag, attributes in page.tags if tag == "link"] == ["icon"]
    executable = [attributes for attributes, _ in page.scripts if attributes.get("type") is None]
    assert executable and all(attributes == {} for attributes in executable)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("href", "src", "action"):
            target = attributes.get(name, "#")
            assert target.startswith("#") or target in {*FILES, "figures/", ICON}, (tag, attributes)
    assert len({attributes["id"] for _, attributes in page.tags if "id" in attributes}) == sum(
        "id" in attributes for _, attributes in page.tags
    )


def test_every_name_is_in_the_page_s_data_as_it_was(hostile):
    page = read(hostile.run_dir / "report")
    (held,) = [json.loads(text) for attributes, text in page.scripts if attributes.get("class") == "study-clips"]
    manifest = pd.read_csv(hostile.run_dir / "manifest.csv")
    assert held["labels"] == sorted(LABELS)
    assert held["clips"]["id"] == gather(hostile).manifest.clips["id"].tolist()
    assert len(held["clips"]["src"]) == len(manifest) and all(held["clips"]["src"])


def test_nothing_is_fetched_from_elsewhere(hostile):
    text = (hostile.run_dir / "report" / "index.html").read_text()
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL).replace(ICON, "")  # its namespace is a URL
    assert not re.search(r"https?://|@import|url\(", outside)
    assert text.count('id="plotly"') == 1 and text.count("* plotly.js (cartesian") == 1


def test_the_page_links_every_table_beside_it(hostile):
    folder = hostile.run_dir / "report"
    links = {attributes["href"] for tag, attributes in read(folder).tags if tag == "a"}
    tables = {path.name for path in folder.iterdir() if path.suffix in (".csv", ".md", ".tex", ".json")}
    assert tables and {*tables, "figures/"} == {link for link in links if not link.startswith("#")}


def test_pairs_are_the_same_in_the_page_and_in_its_file_and_agree_with_the_ties(hostile):
    folder = hostile.run_dir / "report"
    pairs = pd.read_csv(folder / "comparisons.csv", keep_default_na=False)
    results = pd.read_csv(folder / "results.csv", keep_default_na=False)
    assert len(pairs) == 5 * 4
    score = {(row["model"], row["head"]): row for row in results.to_dict("records")}
    best = results.iloc[0]
    page = (folder / "index.html").read_text()
    for pair in pairs.to_dict("records"):
        own, other = score[pair["model"], pair["head"]], score[pair["other_model"], pair["other_head"]]
        assert pair["difference"] == pytest.approx(own["accuracy"] - other["accuracy"])
        assert pair["difference_ci_low"] < pair["difference"] < pair["difference_ci_high"]
        text = f"{pair['difference']:+.3f}<span>{pair['difference_ci_low']:+.3f} to {pair['difference_ci_high']:+.3f}<"
        assert text in page
        if (pair["other_model"], pair["other_head"]) == (best["model"], best["head"]):
            assert (pair["p_value"] > 0.05) == own["tied_with_best"]


def test_the_next_commands_use_the_winner(hostile):
    page = (hostile.run_dir / "report" / "index.html").read_text()
    folder = gather(hostile).models[0].fit.folder
    for command in (f"audioheads predict {folder} new.wav", f"audioheads export {folder} my-model"):
        assert page.count(f"<code>{command}</code>") == 1


def test_names_of_models_and_data_stay_text_too(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{name} · linear" for name in NAMES if " · " not in name]
    manifest = manifest_of([NAMES[row % 4] for row in range(40)])
    object.__setattr__(manifest, "name", NAMES[0])
    made = {name: rng.dirichlet([1] * 4, (2, 40)) for name in names}
    about = {name: {"weights": f"pretrained:{NAMES[1]}", "dataset": NAMES[2]} for name in names}
    html = page_of_study(study_of(manifest, made, folder=tmp_path, about=about))
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"img", "iframe"}
    assert [row["model"] for row in page.results()] != [] and {row["model"] for row in page.results()} == {
        name.removesuffix(" · linear").strip() for name in names
    }
    assert "49" not in {row["model"] for row in page.results()}


def test_clips_are_in_manifest_order_with_every_model_s_prediction(hostile):
    study = gather(hostile)
    held = clips_json(study, np.arange(36), [None] * 36)
    assert study.tested.tolist() == held["clips"]["number"] == list(range(36))
    kept = pd.read_parquet(hostile.run_dir / "predictions.parquet")
    for model in held["models"]:
        own = kept[(kept["model"] + " · " + kept["head"]) == model["title"]]
        assert len(model["predicted"]) == 2
        for seed, (predicted, sure, truth) in enumerate(
            zip(model["predicted"], model["confidence"], model["truth"], strict=True)
        ):
            by_id = own[own["seed"] == seed].set_index("id")
            for at, clip in enumerate(held["clips"]["id"]):
                row = by_id.loc[clip]
                assert held["labels"][predicted[at]] == row["predicted"]
                assert held["labels"][held["clips"]["target"][at]] == row["target"]
                assert sure[at] == pytest.approx(1000 * max(row["probabilities"]), abs=0.51)
                assert truth[at] == pytest.approx(
                    1000 * row["probabilities"][held["labels"].index(row["target"])], abs=0.51
                )


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_tasks_have_a_page(tmp_path, task):
    rng = np.random.default_rng(0)
    if task == "multi-label":
        labels, shape = [("a",) if row % 2 else ("a", "b") if row % 3 else () for row in range(40)], (2, 40, 2)
    else:
        labels, shape = rng.normal(size=40).tolist(), (2, 40, 1)
    made = {"a · linear": rng.uniform(size=shape), "b · linear": rng.uniform(size=shape)}
    study = study_of(manifest_of(labels, task), made, folder=tmp_path)
    rows = Page(page_of_study(study)).results()
    value = study.table["value"].iloc[0]
    assert rows[0]["value"] == f"{value:.3f}" and rows[0]["metric"] == {"multi-label": "mAP", "regression": "CCC"}[task]
    held = clips_json(study, np.arange(40), [None] * 40)
    assert held["task"] == task and len(held["models"][0]["predicted"][0]) == 40
    assert json.loads(json_text(held)) == held


def test_failed_clips_and_warnings_are_above_the_table(tmp_path):
    study = random_study(40, 4, 2, folder=tmp_path)
    study.inputs.failures[NAMES[0]] = "cannot be decoded"
    object.__setattr__(study, "warnings", (f"groups on both sides: {NAMES[1]}",))
    html = page_of_study(study)
    assert "<strong>1 clip of 40 failed</strong>" in html
    assert "<strong>Warning:</strong> groups on both sides: &#34;&gt;&lt;img" in html


@pytest.mark.e2e
def test_several_experiments_share_a_page(hostile, tmp_path, capsys):
    other = hostile_experiment(tmp_path / "two", "other")
    run_report(hostile, other, console=Console(), output=tmp_path / "out")
    folder = tmp_path / "out"
    page = read(folder)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and {"study-1", "study-2", "study-1-answer", "study-2-answer"} <= set(ids)
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a" and attributes["href"][0] == "#"}
    assert targets <= set(ids) and {"study-1-answer", "study-2-answer"} <= targets
    table = pd.read_csv(folder / "results.csv")
    assert table["run"].tolist() == ["hostile"] * 5 + ["other"] * 5 and table.columns[-1] == "run"
    for name, config in (("hostile", hostile), ("other", other)):
        alone = tmp_path / name
        run_report(config, console=Console(), output=alone)
        rows = table[table["run"] == name].drop(columns="run").reset_index(drop=True)
        assert rows.equals(pd.read_csv(alone / "results.csv"))
        stored = json.loads((folder / "results.json").read_text())["runs"][name]["rows"]
        assert stored == json.loads((alone / "results.json").read_text())["rows"]
        classes = pd.read_csv(folder / "classes.csv")
        assert classes.columns[-1] == "run" and (classes["run"] == name).sum() == 20
        own = (alone / "results.md").read_text()
        assert own in (folder / "results.md").read_text()
    text = (folder / "index.html").read_text()
    assert "Models were compared within their experiment only" in text and text.count('<tr data-run="other"') == 5
    assert (folder / "results.tex").read_text().count("\\begin{tabular}") == 2


def test_several_experiments_go_to_the_reports_folder_by_default(hostile, tmp_path):
    other = load_config(hostile._source, ["name=again"])
    from pipeline.report.run import report_folder

    assert report_folder([hostile]) == hostile.run_dir / "report"
    assert report_folder([hostile, other]) == hostile.output.runs / "reports" / "hostile+again"


def test_the_same_run_twice_is_an_error(hostile, tmp_path):
    with pytest.raises(UserError, match=r"are both the run .*hostile; give one another `name`"):
        run_report(hostile, load_config(hostile._source), console=Console(), output=tmp_path)


def test_a_folder_that_cannot_be_written_is_reported(hostile, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file"):
        run_report(hostile, console=Console(), output=tmp_path / "file" / "report")


@pytest.mark.e2e
def test_the_command_takes_several_configs_and_ways_of_audio(hostile, tmp_path, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["report", str(hostile._source), *arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    code, out, _ = run("-o", str(tmp_path / "sent"), "--embed-audio")
    assert code == 0 and "audio: 36 clips in the page, " in out and (tmp_path / "sent" / "index.html").is_file()
    code, _, err = run("--embed-audio", "--copy-audio")
    assert code == 2 and "exclude each other" in err
    code, out, _ = run("--dry-run", "--output", str(tmp_path / "other"))
    assert code == 0 and out == f"report: would write {tmp_path / 'other'}\n" and not (tmp_path / "other").exists()
    code, _, err = run(str(hostile._source))
    assert code == 2 and "are both the run" in err


@pytest.mark.thorough
def test_a_page_of_400_clips_and_10_models_has_at_most_3_mb(tmp_path):
    study = random_study(400, 10, 10, folder=tmp_path)
    sections = build(study, SECTIONS)
    noise = np.random.default_rng(0)
    waves = [Waveform(noise.normal(size=16_000).astype(np.float32), 16_000) for _ in range(20)]
    pictures = [picture_of(waves[clip % 20]) for clip in range(400)]
    sources = [f"../../data/esc50/{at}-some-name.wav" for at in range(400)]
    page = page_of([Part(study, sections, sources, pictures=pictures)])
    assert len(page.encode()) < 3_000_000


@pytest.mark.e2e
def test_a_page_of_2000_clips_and_12_models_stays_below_15_mb(tmp_path):
    study = random_study(2000, 50, 12, folder=tmp_path)
    sections = build(study, SECTIONS)
    assert clips_of(sections).tolist() == list(range(2000))
    page = page_of([Part(study, sections, [f"../../data/esc50/{row}-some-name-A-1.wav" for row in range(2000)])])
    assert len(page.encode()) < 15_000_000
