"""Shipped configs by name, the schema and the reference of a config, `--version`."""

import importlib.util
import json
import re
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest

from pipeline.cli.app import main
from pipeline.config.config import Config, load_config
from pipeline.config.json_schema import config_schema
from pipeline.config.options_table import descriptions, option_classes, sections
from pipeline.config.shipped import find_config, purpose, shipped_configs
from pipeline.config.yaml import parse_yaml
from tests.paths import ROOT

pytestmark = pytest.mark.usefixtures("global_state")


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_the_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"audioheads {metadata.version('audioheads')}\n"


def test_every_shipped_config_has_a_purpose_and_is_valid():
    names = shipped_configs()
    assert {"demo", "demo-cnn", "esc10"} <= set(names)
    for path in names.values():
        assert load_config(path).name
        assert len(purpose(path)) > 20


def test_the_demo_needs_base_dependencies_only():
    config = load_config(shipped_configs()["demo"])
    assert not config.finetune
    assert not config.tracking
    with_network = load_config(shipped_configs()["demo-cnn"])
    assert with_network.model_copy(update={"finetune": []}) == config


def test_a_name_means_the_shipped_config_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(Path("demo")) == shipped_configs()["demo"]
    for other in ("demo.yaml", "sub/demo", "dmo"):
        assert find_config(Path(other)) == Path(other)
    Path("demo").touch()
    assert find_config(Path("demo")) == Path("demo")


def test_configs_are_listed_and_copied(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("configs", "ls") == 0
    assert re.search(r"^esc10 +", capsys.readouterr().out, re.MULTILINE)
    assert run("configs", "copy", "esc10") == 0
    first, _, rest = Path("esc10.yaml").read_text().partition("\n")
    assert first == "# yaml-language-server: $schema=audioheads.schema.json"
    assert rest == (ROOT / "configs" / "esc10.yaml").read_text()
    schema = json.loads(Path("audioheads.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(parse_yaml(Path("esc10.yaml").read_text()))
    assert run("configs", "copy", "esc10") == 2
    assert "esc10.yaml: already exists" in capsys.readouterr().err
    Path("folder").mkdir()
    assert run("configs", "copy", "esc10.yaml", "folder") == 0
    assert Path("folder/esc10.yaml").is_file() and Path("folder/audioheads.schema.json").is_file()
    assert run("configs", "copy", "esc1") == 2
    assert "no shipped config 'esc1': did you mean 'esc10'?" in capsys.readouterr().err


def test_the_schema_accepts_every_shipped_config():
    check = jsonschema.Draft202012Validator(config_schema())
    for path in shipped_configs().values():
        errors = [error.message for error in check.iter_errors(parse_yaml(path.read_text(encoding="utf-8")))]
        assert errors == [], path


@pytest.mark.parametrize(
    "change",
    [
        {"sedes": [1]},
        {"protocol": "kfolds"},
        {"dataset": {"kind": "esc51", "root": "x"}},
        {"dataset": {"kind": "folder"}, "heads": [{"name": "linear", "l3": 1}]},
        {"features": {"backbones": [{"name": "mffc"}]}},
        {"features": {"poolings": ["mean"]}},
    ],
)
def test_the_schema_refuses_what_the_program_refuses(change):
    check = jsonschema.Draft202012Validator(config_schema())
    config = {"dataset": {"kind": "folder", "root": "x"}}
    assert check.is_valid(config)
    assert not check.is_valid({**config, **change})


def test_schema_and_reference_are_printed(capsys):
    assert run("config", "schema") == 0
    assert json.loads(capsys.readouterr().out) == config_schema()
    assert run("config", "reference") == 0
    text = capsys.readouterr().out
    for name in Config.model_fields:
        assert f"| `{name}` |" in text
    for named in option_classes().values():
        for name in named:
            assert f"`{name}`" in text


def test_every_option_is_described():
    classes = [one for named in option_classes().values() for one in named.values()] + [one for _, one in sections()]
    missing = {
        (one.__name__, name)
        for one in classes
        for name in one.model_fields
        if name not in descriptions(one) and name not in ("name", "kind")
    }
    assert missing == set()


def test_a_config_with_finetune_stops_before_any_work_without_lightning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    Path("exp.yaml").write_text("dataset: {kind: folder, root: sounds}\nfinetune: [{name: cnn}]\n")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightning" else found(name))
    assert run("run", "exp.yaml") == 2
    assert capsys.readouterr().err == "finetune: lightning is not installed; pip install 'audioheads[finetune]'\n"
    assert not Path("cache").exists()
