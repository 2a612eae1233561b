"""`train-heads` continues an interrupted fit from the command line."""

from pathlib import Path

import pandas as pd
import pytest

from heads.training.kept_blocks import KeptBlocks
from pipeline.cli.app import main
from pipeline.config.config import load_config

pytestmark = pytest.mark.e2e  # runs whole experiments

CONFIG = """
name: {name}
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 1.0, classes: [siren, crackle]}}
features: {{backbones: [{{name: mfcc}}]}}
heads: [{{name: linear}}]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def write_config(root: Path, name: str) -> Path:
    path = root / f"{name}.yaml"
    path.write_text(CONFIG.format(root=root, name=name))
    return path


def test_an_interrupted_fit_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = write_config(tmp_path, "whole"), write_config(tmp_path, "stopped")
    assert run("run", str(whole)) == 0
    assert run("features", str(stopped)) == 0
    right, seen = KeptBlocks.see, []

    def see(self: KeptBlocks, fitted, n_configurations: int) -> None:  # type: ignore[no-untyped-def]
        if len(set(seen)) == 3:
            raise KeyboardInterrupt
        right(self, fitted, n_configurations)
        seen.append(fitted.place)

    with monkeypatch.context() as patch:
        patch.setattr(KeptBlocks, "see", see)
        assert run("train-heads", str(stopped)) == 130
    fit = load_config(stopped).run_dir / "models" / "mfcc" / "linear"
    assert [path.name for path in fit.iterdir()] == ["unfinished"]
    before = set(seen)
    seen.clear()
    monkeypatch.setattr(KeptBlocks, "see", lambda *given: seen.append(given[1].place) or right(*given))
    assert run("train-heads", str(stopped)) == 0
    assert len(before) >= 2 and len(before & set(seen)) <= 1  # a block that was not finished is trained again
    assert not (fit / "unfinished").exists()
    other = load_config(whole).run_dir / "models" / "mfcc" / "linear"
    one, two = (pd.read_parquet(folder / "predictions.parquet").drop(columns="run") for folder in (fit, other))
    pd.testing.assert_frame_equal(one, two)
