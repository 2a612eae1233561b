"""Configs: defaults, every kind of error, writing back to YAML, and the shipped files."""

import re
from pathlib import Path

import pytest

from features.errors import ConfigError
from pipeline.config.config import dump_config, load_config
from tests.paths import ROOT

CONFIGS = ROOT / "configs"
SHIPPED = sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "published.yaml"})
MINIMAL = "dataset: {kind: esc50, root: data/ESC-50}\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="exp.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def mistakes_of(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value).splitlines()


def test_every_section_but_dataset_has_a_default(write):
    config = load_config(write(MINIMAL, "my exp.yaml"))
    assert config.name == "my exp"
    assert config.run_dir == Path("runs/my exp")
    assert config.dataset.root == Path("data/ESC-50")
    assert [backbone.name for backbone in config.features.backbones] == ["mfcc"]
    assert [head.name for head in config.heads] == ["linear", "mlp"]
    assert (config.features.pooling, config.features.precision, config.protocol) == (["mean"], "fp32", "auto")
    assert (config.seeds, config.split_seed) == ([0], 0)
    assert (config.output.cache, config.output.runs) == (Path("cache"), Path("runs"))


def test_an_empty_section_is_the_default(write):
    assert load_config(write(MINIMAL + "features:\noutput:\n")) == load_config(write(MINIMAL))


def test_a_preset_is_filled_in_and_the_entry_wins(write):
    text = MINIMAL + "features: {backbones: [{name: hubert-base}, {name: yamnet, weights: my.tflite}]}\n"
    hubert, yamnet = load_config(write(text)).features.backbones
    assert hubert.weights == "facebook/hubert-base-ls960@dba3bb02fda4248b6e082697eee756de8fe8aa8a"
    assert hubert.model_type == "hubert"
    assert (yamnet.weights, yamnet.window_samples) == ("my.tflite", 15600)


ONE_MISTAKE = [
    (
        "features: {backbones: [{name: mfcc}, {name: wav2vec2, weigths: random}]}",
        "features.backbones[1].weigths: unknown key, did you mean 'weights'?",
    ),
    ("feature: {}", "feature: unknown key, did you mean 'features'?"),
    ("features: {precison: fp32}", "features.precison: unknown key, did you mean 'precision'?"),
    ("features: {colour: red}", "features.colour: unknown key, known: pooling, precision, "),
    ("features: {precision: fp8}", "features.precision: should be 'fp32', 'bf16', 'fp16' or 'auto', got 'fp8'"),
    ("features: {pooling: mean}", "features.pooling: should be a list such as [mean], got 'mean'"),
    ("features: {pooling: [mean, median]}", "features.pooling[1]: should be 'mean', "),
    ("features: {pooling: [mean, mean]}", "features.pooling: 'mean' is listed twice"),
    ("features: {pooling: []}", "features.pooling: should have at least 1 item(s), got []"),
    ("features: {batch_s: -1}", "features.batch_s: should be greater than 0, got -1"),
    ("features: {batch_s: .inf}", "features.batch_s: should be a finite number, got inf"),
    ("features: {block_rows: 0}", "features.block_rows: should be greater than or equal to 1, got 0"),
    ("features: {threads: 1.5}", "features.threads: should be a valid integer, got 1.5"),
    ("features: {workers: true}", "features.workers: should be a valid integer, got True"),
    ("features: {frame_layers: [-1]}", "features.frame_layers[0]: should be greater than or equal to 0, got -1"),
    ("features: [mean]", "features: should be a mapping, got ['mean']"),
    ("features: {backbones: []}", "features.backbones: should have at least 1 item(s), got []"),
    ("features: {backbones: mfcc}", "features.backbones: should be a list such as [mfcc], got 'mfcc'"),
    ("features: {backbones: [mfcc]}", "features.backbones[0]: should be a mapping such as {name: …}, got 'mfcc'"),
    ("features: {backbones: [{weights: x}]}", "features.backbones[0].name: should be a name, got null"),
    ("features: {backbones: [{name: yamnett}]}", "features.backbones[0].name: unknown backbone 'yamnett'"),
    ("features: {backbones: [{name: mfcc}, {name: mfcc}]}", "features.backbones[1].name: 'mfcc' is also features"),
    ("features: {backbones: [{name: mfcc, label: a/b}]}", "features.backbones[0].label: 'a/b' cannot be a file name"),
    (
        "features: {backbones: [{name: mfcc, label: Majority}]}",
        "features.backbones[0].label: 'Majority' is the name of the baseline in every table; give the model another",
    ),
    ("finetune: [{name: m5, label: majority}]", "finetune[0].label: 'majority' is the name of the baseline"),
    ("heads: []", "heads: should have at least 1 item(s), got []"),
    ("heads: [{name: lienar}]", "heads[0].name: unknown name 'lienar', did you mean 'linear'?"),
    ("heads: [{name: mlp, dropout: [1.5]}]", "heads[0].dropout[0]: should be less than 1, got 1.5"),
    (
        "heads: [{name: linear}, {name: linear, l2: [1]}]",
        "heads[1].name: 'linear' on the same pooling is also heads[0]",
    ),
    ("heads: [{name: linear, pooling: [max]}]", "heads[0].pooling: 'max' is not among features.pooling (mean)"),
    ("protocol: fold", "protocol: should be 'auto', "),
    ("seeds: 0", "seeds: should be a list such as [0], got 0"),
    ("seeds: [0, 0]", "seeds: 0 is listed twice"),
    ("seeds: [-1]", "seeds[0]: should be greater than or equal to 0, got -1"),
    ("split_seed: one", "split_seed: should be a valid integer, got 'one'"),
    ("name: ../up", "name: '../up' cannot be a file name"),
    ("name: 7", "name: should be a valid string, got 7"),
    ("output: {cache: 3}", "output.cache: should be a path, got 3"),
    ("finetune: [{name: resnet19}]", "finetune[0].name: unknown model 'resnet19', did you mean 'resnet18'?"),
    ("finetune: [{name: mfcc}]", "finetune[0].name: 'mfcc' cannot be trained end to end"),
    ("finetune: [{name: m5, epoch: 3}]", "finetune[0].epoch: unknown key, did you mean 'epochs'?"),
    (
        "finetune: [{name: wav2vec2, weights: random, sise: tiny}]",
        "finetune[0].sise: unknown key, did you mean 'size'?",
    ),
    (
        "finetune: [{name: cnn}, {name: cnn}]",
        "finetune[1].name: 'cnn' is also finetune[0]; give one of them another `label`",
    ),
    ("finetune: [{name: cnn, label: mfcc}]", "finetune[0].label: 'mfcc' is also features.backbones[0]"),
    ("finetune: [{name: cnn, augment: {gain: [2, 1]}}]", "finetune[0].augment: gain should be a range"),
    (
        "finetune: [{name: cnn, mel: {hop_length: 4000}}]",
        "finetune[0].mel: hop_length should be at most n_fft (2048), got 4000",
    ),
]


@pytest.mark.parametrize(("text", "message"), ONE_MISTAKE, ids=[text for text, _ in ONE_MISTAKE])
def test_one_mistake_is_one_line_that_names_file_and_key(write, text, message):
    path = write(MINIMAL + text + "\n")
    [line] = mistakes_of(path)
    assert line.startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "dataset: missing, and it has no default"),
        ("dataset:", "dataset: should be a mapping such as {kind: …}, got null"),
        ("dataset: {root: x}", "dataset.kind: should be a name, got null"),
        ("dataset: {kind: esc5, root: x}", "dataset.kind: unknown kind 'esc5', did you mean 'esc50'?"),
        ("dataset: {kind: esc50}", "dataset.root: missing, and it has no default"),
        ("dataset: {kind: esc50, rot: x}", "dataset.rot: unknown key, did you mean 'root'?"),
        ("dataset: {kind: esc50, root: x, subset: esc11}", "dataset.subset: should be 'esc50' or 'esc10', got 'esc11'"),
    ],
)
def test_mistakes_in_the_dataset(write, text, message):
    path = write(text)
    [line] = mistakes_of(path)
    assert line.startswith(f"{path}: {message}")


def test_several_mistakes_are_listed_together(write):
    path = write(
        "dataset: {kind: esc50}\nseeds: [a]\nfeatures: {backbones: [{name: x}]}\nheads: [{name: mlp, hiden: 1}]"
    )
    lines = mistakes_of(path, "features.batch_s=0")
    keys = {"dataset.root", "seeds[0]", "features.backbones[0].name", "heads[0].hiden", "features.batch_s"}
    assert len(lines) == len(keys)
    assert {key for key in keys for line in lines if f" {key}: " in line} == keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty", "dataset"]),
        ("# only a comment\n", ["empty"]),
        ("- a\n- b\n", ["mapping", "dataset"]),
        (MINIMAL + "seeds: [0, 1\n", ["line 3"]),
        (MINIMAL + "seeds: [0]\nseeds: [1]\n", ["line 3", "'seeds' occurs twice", "line 2"]),
        (MINIMAL + "\tname: x\n", ["line 2"]),
        (b"name: \xff\n", ["not UTF-8"]),
    ],
)
def test_files_that_are_no_config(write, text, words):
    path = write(text)
    [line] = mistakes_of(path)
    assert line.startswith(f"{path}: ")
    for word in words:
        assert word in line


def test_a_file_that_cannot_be_read(tmp_path):
    assert mistakes_of(tmp_path / "none.yaml") == [f"{tmp_path / 'none.yaml'}: no such config file"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.poolng=[mean]", "features.poolng: unknown key, did you mean 'pooling'?"),
        ("fetures.pooling=[mean]", "fetures: unknown key, did you mean 'features'?"),
        ("heads.mlp.hiden=[1]", "heads[1].hiden: unknown key, did you mean 'hidden'?"),
        ("features.batch_s=-3", "features.batch_s: should be greater than 0, got -3"),
    ],
)
def test_a_mistake_of_an_override_names_the_override(write, override, message):
    assert mistakes_of(write(MINIMAL), override) == [f"--set {override}: {message}"]


def test_overrides_reach_default_lists_and_absent_keys(write):
    overrides = ["heads.mlp.learning_rate=1e-4", "features.threads=1", "features.backbones.mfcc.label=control"]
    config = load_config(write(MINIMAL), overrides)
    assert config.heads[1].learning_rate == [1e-4]
    assert config.features.threads == 1
    assert config.features.backbones[0].label == "control"


def test_numbers_with_an_exponent_are_numbers(write):
    config = load_config(write(MINIMAL + "heads: [{name: mlp, learning_rate: [1e-3, 3e-4]}]"))
    assert config.heads[0].learning_rate == [0.001, 0.0003]


def test_the_command_for_messages_repeats_file_and_overrides(write):
    config = load_config(write(MINIMAL, "a b.yaml"), ["name=x y"])
    assert config.command("cache explain") == f"audioheads cache explain '{config._source}' --set 'name=x y'"


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_shipped_configs_are_valid_and_dump_to_the_same(path, tmp_path):
    config = load_config(path)
    assert config.name == {"demo-cnn": "demo"}.get(path.stem, path.stem)
    copied = tmp_path / "config.yaml"
    copied.write_text(dump_config(config), encoding="utf-8")
    assert load_config(copied) == config
    assert config != load_config(copied, ["seeds=[99]"])


def test_the_named_configs_are_shipped():
    assert {path.stem for path in SHIPPED} >= {"demo", "esc10", "fsdd", "wav2vec2-vggish"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "sound.wav",
            b"RIFF\xff\xff",
            r"is audio, not a config; `audioheads init .*`audioheads predict MODEL ",
        ),
        (
            "clips.csv",
            b"path,label\na.wav,a\n",
            r"is a table of clips, not a config; `audioheads init \S+csv` writes",
        ),
        ("clips.jsonl", b'{"path": "a.wav"}\n{"path": "b.wav"}\n', r"is a table of clips, not a config"),
        ("head.safetensors", b"\xff\x00", r"is a trained model, not a config; `audioheads predict "),
        ("mfcc-1.h5", b"\x89HDF\r\n", r"is a cache file, not a config; `audioheads cache verify "),
        ("other.bin", b"\xff", r"not UTF-8 text \(byte 0\); a config is a YAML file"),
    ],
)
def test_another_file_in_the_place_of_a_config_is_named(write, name, content, message):
    (line,) = mistakes_of(write(content, name))
    assert re.search(message, line), line


def test_a_folder_in_the_place_of_a_config(tmp_path, write):
    (line,) = mistakes_of(tmp_path)
    assert (
        line
        == f"{tmp_path}: is a folder, not a config; if it holds labelled audio, `audioheads init {tmp_path}` "
        + ("writes a config for it")
    )
    path = write(MINIMAL, "config.yaml")
    assert mistakes_of(tmp_path) == [f"{tmp_path}: is a folder, not a config; did you mean {path}?"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: {kind: folder, root: x\nheads: [{name: linear}]\n", "the '{' of line 1, column 10 is not closed"),
        ("dataset: {kind: folder, root: x}\nheads: [{name: linear]\n", "the '{' of line 2, column 9 is not closed"),
        ("heads: [{name: linear}\n", "the '[' of line 1, column 8 is not closed"),
        ("heads:\n  - {name: linear\n  - {name: knn}\n", "the '{' of line 2, column 5 is not closed"),
        (
            "dataset:\n  kind folder\n  root: x\n",
            "line 3, column 7: mapping values are not allowed here; is a colon missing",
        ),
    ],
)
def test_a_missing_bracket_or_colon_is_located(write, text, message):
    (line,) = mistakes_of(write(text))
    assert message in line, line
