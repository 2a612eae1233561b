"""From a layout to a table: `init`, at most one edited line, `run`."""

import pandas as pd
import pytest

from pipeline.cli.app import main
from tests.pipeline.init import layouts
from tests.pipeline.init.test_tables import here, init, without_mark

__all__ = ["here"]
pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("layout", "edited", "n_test"),
    [
        ("urbansound8k_without_table", None, 20),
        ("meta_beside_audio", None, 28),
        ("fsd50k", "task", 12),
        ("ravdess_in_other_folders", None, 24),
        ("emodb", None, 36),
        ("class_folders_by_speaker", "pattern", 40),
        ("odd_labels", None, 24),
        ("many_small_classes", "min_clips", 36),
    ],
)
def test_from_a_layout_to_a_table(tmp_path, layout, edited, n_test):
    config = init(getattr(layouts, layout)(tmp_path / "corpus"))
    if edited:
        without_mark(config, edited)
    sets = ("features.backbones=[{name: mfcc}]", "heads=[{name: linear}]", "seeds=[0]")
    with pytest.raises(SystemExit) as end:
        main(["run", str(config), *(part for one in sets for part in ("--set", one))])
    assert end.value.code == 0
    table = pd.read_csv(next(tmp_path.glob("runs/*/report/results.csv")))
    assert table[table["model"] == "mfcc"]["n_test"].tolist() == [n_test]
