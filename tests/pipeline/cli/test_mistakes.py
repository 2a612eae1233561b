"""Arguments that the shell split, and configs in the place of models."""

import pytest

from pipeline.cli.app import main


@pytest.fixture
def error_of(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("dataset: {kind: folder, root: sounds}\n")

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (["run", "c.yaml", "--set", "features.pooling=[mean,", "std]"], "'features.pooling=[mean, std]'"),
        (["run", "--set", "features.pooling=[mean,", "std]", "c.yaml"], "'features.pooling=[mean, std]'"),
        (["run", "c.yaml", "--set=seeds=[0,", "1,", "2]"], "'seeds=[0, 1, 2]'"),
        (["run", "c.yaml", "--set", "heads=[{name:", "knn}]", "--device", "cpu"], "'heads=[{name: knn}]'"),
    ],
)
def test_an_unquoted_list_is_shown_quoted(error_of, arguments, quoted):
    error = error_of(*arguments)
    assert "the shell split the value at its blanks; quote it: --set " + quoted in error


def test_a_quoted_list_is_left_alone(error_of):
    assert "shell" not in error_of("run", "c.yaml", "--set", "features.pooling=[mean, std]")
    assert "shell" not in error_of("run", "c.yaml", "--set", "features.pooling=[mean", "--device", "cpu]")


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "x.wav"], ["export"], ["export", "folder"]])
def test_a_config_in_the_place_of_a_model(error_of, arguments):
    error = error_of(arguments[0], "c.yaml", *arguments[1:])
    assert error.startswith("c.yaml: is a config, not a trained model; none of its models is trained yet; first ")
    assert "`audioheads run c.yaml`" in error


def test_the_models_of_a_config_are_listed(error_of, tmp_path):
    folder = tmp_path / "runs" / "c" / "models" / "mfcc" / "linear"
    folder.mkdir(parents=True)
    (folder / "fit.json").write_text("{}")
    assert "its models are\n  runs/c/models/mfcc/linear" in error_of("predict", "c.yaml", "x.wav")
