"""A real experiment for the tests of the page and its files."""

import pytest

from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.report.run import run_report
from tests.pipeline.report.experiments import hostile_experiment


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Config:
    """A reported experiment with hostile names everywhere."""
    config = hostile_experiment(tmp_path_factory.mktemp("hostile"))
    run_report(config, console=Console())
    return config
