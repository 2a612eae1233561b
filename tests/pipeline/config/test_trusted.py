"""`--trust` reaches the entries whose weights come with this code, and nothing else."""

import pytest
from typer.testing import CliRunner

from features.errors import ConfigError
from pipeline.cli.app import app
from pipeline.config.config import load_config
from pipeline.config.trusted import missing_trust, trust_code

TRUST = f"org/strange@{'a' * 40}"
CONFIG = """
dataset: {kind: synthetic, root: data}
features:
  backbones:
    - {name: transformers, label: strange, weights: org/strange}
    - {name: transformers, label: other, weights: org/other}
    - {name: mfcc}
"""


@pytest.fixture
def config(tmp_path):
    """A config with two encoders of the hub."""
    file = tmp_path / "trial.yaml"
    file.write_text(CONFIG)
    return load_config(file)


def test_the_entry_with_these_weights_is_trusted(config):
    (trusted,) = trust_code([config], [TRUST])
    strange, other, _ = trusted.features.backbones
    assert (strange.trust, other.trust) == (TRUST, None)
    assert load_config(config._source).features.backbones[0].trust is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "org/strange",
            "--trust: should be org/name@revision with all 40 hex digits of the revision, got 'org/strange'",
        ),
        (f"org/absent@{'a' * 40}", "--trust org/absent@a+: no backbone of the config has weights with this code"),
    ],
)
def test_what_is_not_there_is_one_line(value, message, config):
    with pytest.raises(ConfigError, match=message):
        trust_code([config], [value])


def test_of_several_configs_those_with_these_weights_are_trusted(config, tmp_path):
    file = tmp_path / "plain.yaml"
    file.write_text(CONFIG.replace("org/strange", "org/plain"))
    plain = load_config(file)
    trusted, same = trust_code([config, plain], [TRUST])
    assert trusted.features.backbones[0].trust == TRUST
    assert same is plain
    with pytest.raises(ConfigError, match="no backbone of these configs has weights with this code"):
        trust_code([config, plain], [f"org/absent@{'a' * 40}"])


def test_only_an_entry_that_lacks_trust_is_asked_for_it():
    stored = {"name": "transformers", "weights": "org/strange", "trust": TRUST}
    assert missing_trust(stored, {**stored, "trust": None}) == TRUST
    for other in (stored, {**stored, "trust": None, "weights": "org/other"}, {**stored, "trust": f"org/x@{'b' * 40}"}):
        assert missing_trust(stored, other) is None
    assert missing_trust({**stored, "trust": None}, stored) is None
    assert missing_trust({}, stored) is None


@pytest.mark.parametrize(
    "command",
    ["run", "features", "train-heads", "report", "cache explain", "cache export", "datasets audit"],
)
def test_every_command_that_reads_embeddings_of_a_config_takes_it(command, config):
    arguments = [*command.split(), str(config._source), "--trust", f"org/absent@{'a' * 40}"]
    done = CliRunner().invoke(app, arguments)
    assert "no backbone of the config has weights with this code" in str(done.exception)
