"""`--trust` reaches the entries whose weights come with this code, and nothing else."""

import pytest
from typer.testing import CliRunner

from features.errors import ConfigError
from pipeline.cli.app import app
from pipeline.config.config import load_config
from pipeline.config.trusted import trust_code

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
    strange, other, _ = trust_code(config, [TRUST]).features.backbones
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
        trust_code(config, [value])


@pytest.mark.parametrize("command", ["run", "features", "train-heads", "report"])
def test_every_stage_takes_it(command, config):
    done = CliRunner().invoke(app, [command, str(config._source), "--trust", f"org/absent@{'a' * 40}"])
    assert "no backbone of the config has weights with this code" in str(done.exception)
