"""The command line: what is passed to the stages, and which message and exit code each outcome gives."""

import errno
import logging
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from features.errors import CacheError, ConfigError
from pipeline.cli.app import main
from pipeline.config import load_config
from pipeline.results.expected_fits import expected_fits
from pipeline.results.features_index import features_entry, write_features_index
from pipeline.results.run_folder import FIT_FILE, PREDICTIONS_FILE, fit_folder, write_json

COMMANDS = (
    ["run"],
    ["features"],
    ["train-heads"],
    ["report"],
    ["cache", "ls"],
    ["cache", "verify"],
    ["cache", "explain"],
    ["cache", "prune"],
    ["cache", "export"],
    ["datasets", "ls"],
    ["datasets", "index"],
    ["datasets", "audit"],
    ["datasets", "download"],
    ["leaderboard"],
    ["backbones", "ls"],
    ["backbones", "show"],
    ["backbones", "check"],
    ["doctor"],
    ["init"],
)
pytestmark = pytest.mark.usefixtures("global_state")
CONFIG = "dataset: {kind: esc50, root: corpus}\n"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp.yaml").write_text(CONFIG)
    (tmp_path / "corpus").mkdir()
    return "exp.yaml"


@pytest.fixture
def calls(monkeypatch):
    """Calls of the stages by the commands, in order; set `.error` to make them fail."""
    record = SimpleNamespace(made=[], error=None, verified=True)

    def fake(name):
        def call(*arguments, **options):
            options.pop("console", None)
            record.made.append((name, arguments, options))
            if record.error is not None:
                raise record.error
            return record.verified

        return call

    for module, names in (
        ("stages.features", ("run_features",)),
        ("stages.train_heads", ("run_heads",)),
        ("finetune.run", ("cache_model_inputs", "run_finetune")),
        ("report.run", ("run_report",)),
        ("cache.inspect", ("list_caches", "verify")),
        ("cache.explain", ("explain",)),
    ):
        for name in names:
            monkeypatch.setattr(f"pipeline.{module}.{name}", fake(name))
    monkeypatch.setattr("pipeline.stages.features.load_corpus", lambda _, **options: SimpleNamespace(**options))
    return record


@pytest.fixture
def done(config):
    """Create the files of the earlier stages for the runs `exp` and `y`, as far as commands check for them."""
    for name in ("exp", "y"):
        experiment = load_config(config, [f"name={name}"])
        [options] = experiment.features.backbones
        cache = experiment.run_dir / "mfcc.h5"
        write_features_index(experiment.run_dir, "mfcc", features_entry(experiment, options, cache))
        cache.touch()
        for model, head, _ in expected_fits(experiment):
            folder = fit_folder(experiment.run_dir, model, head)
            write_json(folder / FIT_FILE, {})
            (folder / PREDICTIONS_FILE).touch()


def exit_code(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_run_calls_the_three_stages_in_order(config, calls):
    assert exit_code("run", config, "--set", "name=other", "--set", "seeds=[3]", "--rehash", "--strict") == 0
    assert [name for name, _, _ in calls.made] == ["run_features", "run_heads", "run_report"]
    experiment = calls.made[0][1][0]
    assert (experiment.name, experiment.seeds) == ("other", [3])
    corpus = calls.made[0][2]["corpus"]
    assert (corpus.strict, corpus.rehash, corpus.save) == (True, True, True)
    how = {"device": "auto", "dry_run": False, "strict": True, "corpus": corpus}
    assert calls.made[0][2] == {"limit": None, **how}
    assert calls.made[1][2] == how
    assert calls.made[2][2]["corpora"] == [corpus]


def test_run_trains_end_to_end_if_the_config_lists_models(config, calls):
    assert exit_code("run", config, "--set", "finetune=[{name: cnn}]") == 0
    assert [name for name, _, _ in calls.made] == [
        "run_features",
        "cache_model_inputs",  # before the heads, which leave out the clips that these models cannot use
        "run_heads",
        "run_finetune",
        "run_report",
    ]


def test_run_stops_after_stage_1_under_limit(config, calls, capsys):
    assert exit_code("run", config, "--limit", "5") == 0
    assert [(name, options["limit"]) for name, _, options in calls.made] == [("run_features", 5)]
    assert "--limit 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "function"), [("features", "run_features"), ("train-heads", "run_heads"), ("report", "run_report")]
)
def test_every_stage_takes_the_common_options(config, done, calls, command, function):
    common = ("--device", "cpu", "--limit", "3", "--strict", "--verbose", "--set", "name=y")
    assert exit_code(command, config, *common) == 0
    [(name, (experiment,), options)] = calls.made
    assert (name, experiment.name) == (function, "y")
    assert options.get("device", "cpu") == "cpu"


FINETUNE = "finetune=[{name: cnn}]"


@pytest.mark.parametrize(
    ("command", "sets", "following"),
    [
        ("features", ["name=y"], "audioheads train-heads exp.yaml --set name=y"),
        ("train-heads", [], "audioheads report exp.yaml"),
        ("train-heads", [FINETUNE], f"audioheads finetune exp.yaml --set '{FINETUNE}'"),
        ("finetune", [FINETUNE], f"audioheads report exp.yaml --set '{FINETUNE}'"),
    ],
)
def test_a_finished_stage_names_the_next_command(config, done, calls, capsys, command, sets, following):
    assert exit_code(command, config, *(part for value in sets for part in ("--set", value))) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {following}"


@pytest.mark.parametrize("option", [["--dry-run"], ["--shard", "1/2"], ["--limit", "3"]])
def test_an_unfinished_stage_names_no_next_command(config, calls, capsys, option):
    assert exit_code("features", config, *option) == 0
    assert "next:" not in capsys.readouterr().out


def test_dry_run_writes_no_report(config, calls, capsys):
    assert exit_code("run", config, "--dry-run") == 0
    assert [(name, options["dry_run"]) for name, _, options in calls.made] == [
        ("run_features", True),
        ("run_heads", True),
    ]
    assert "runs/exp/report" in capsys.readouterr().out


def test_cache_commands_take_folders_and_configs(config, calls, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert exit_code("cache", "ls", config, "--set", "output.cache=elsewhere") == 0
    assert str(calls.made[-1][1][0]) == "elsewhere"
    assert exit_code("cache", "explain", config) == 0
    assert calls.made[-1][0] == "explain"
    assert exit_code("cache", "verify", "elsewhere") == 0
    calls.verified = False
    assert exit_code("cache", "verify", "elsewhere") == 1


def test_a_missing_cache_is_reported(config, calls, capsys):
    assert exit_code("cache", "verify") == 2
    assert "cache: no such cache" in capsys.readouterr().err


ENDS = [
    (ConfigError("x.yaml: seeds: wrong\nx.yaml: name: wrong"), 2, "x.yaml: seeds: wrong\nx.yaml: name: wrong"),
    (CacheError("cache/[red]a[/red]/m.h5: damaged " + "long " * 60 + "end"), 1, "cache/[red]a[/red]/m.h5: damaged "),
    (KeyboardInterrupt(), 130, "interrupted; "),
    (MemoryError(), 1, "out of memory; lower features.batch_s"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory; "),
    (OSError(errno.ENOSPC, "No space left on device", "cache/a.h5"), 1, "cache/a.h5: No space left on device; "),
    (PermissionError(errno.EACCES, "Permission denied", "runs/[x]"), 1, "runs/[x]: Permission denied; "),
    (NotADirectoryError(errno.ENOTDIR, "Not a directory", "runs/x"), 1, "runs/x: Not a directory; a file is in the"),
    (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero (use --verbose"),
]


@pytest.mark.parametrize(("error", "code", "message"), ENDS, ids=[type(error).__name__ for error, _, _ in ENDS])
def test_an_error_is_its_message_and_an_exit_code(config, calls, capsys, error, code, message):
    calls.error = error
    assert exit_code("features", config) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert len(captured.err.splitlines()) == len(message.splitlines())


@pytest.mark.parametrize("error", [error for error, _, _ in ENDS], ids=[type(error).__name__ for error, _, _ in ENDS])
def test_verbose_adds_the_traceback(config, calls, capsys, error):
    calls.error = error
    exit_code("features", config, "--verbose")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["features"], "CONFIG"),
        (["features", "x.yaml", "--nope"], "--nope"),
        (["features", "x.yaml", "--device", "gpu"], "'gpu' is not a device"),
        (["features", "x.yaml", "--limit", "0"], "--limit"),
        (["features", "none.yaml"], "none.yaml: no such config file"),
    ],
)
def test_usage_errors_are_one_line(config, calls, capsys, arguments, words):
    assert exit_code(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["cache"], ["datasets"]])
def test_a_missing_command_prints_only_the_help(arguments, capsys):
    assert exit_code(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out.split("\n")[1].strip().startswith(" ".join(["Usage: audioheads", *arguments]))
    assert shown.err == ""


def test_library_warnings_are_shown_under_verbose_only(config, done, calls, capsys, monkeypatch):
    def warn(*_, **__):
        warnings.warn("old thing", FutureWarning, stacklevel=1)
        logging.getLogger("features").info("kept [bold]as is[/bold]")
        logging.getLogger("somewhere").info("chatter")

    monkeypatch.setattr("pipeline.report.run.run_report", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert exit_code("report", config) == 0
        assert capsys.readouterr().err == "kept [bold]as is[/bold]\n"
        assert exit_code("report", config, "--verbose") == 0
        shown = capsys.readouterr().err
    assert "old thing" in shown
    assert "chatter" not in shown


def test_datasets_index_writes_a_manifest_that_reads_back(config, calls, capsys, tmp_path):
    for label in ("cat", "dög"):
        for take in range(3):
            clip = tmp_path / "corpus" / label / f"{take}.wav"
            clip.parent.mkdir(parents=True, exist_ok=True)
            clip.write_bytes(b"")
    (tmp_path / "folder.yaml").write_text("dataset: {kind: folder, root: corpus}\n")
    assert exit_code("datasets", "index", "folder.yaml", "-o", "corpus/list.csv") == 0
    printed = capsys.readouterr().out
    assert "6 clips, 2 classes" in printed
    assert "dög" in printed

    from features.datasets import load_manifest

    read = load_manifest({"kind": "csv", "root": tmp_path / "corpus" / "list.csv"})
    assert sorted(read.clips["id"]) == sorted(f"{label}/{take}.wav" for label in ("cat", "dög") for take in range(3))


def test_lists_name_every_kind_and_backbone(capsys):
    from features.backbones import names
    from features.datasets import KINDS

    assert exit_code("datasets", "ls") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"kind", *KINDS}
    assert exit_code("backbones", "ls") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"name", *names()}


def test_help_of_every_command_imports_nothing_heavy():
    code = f"""
import sys
from pipeline.cli import main
for command in {[[], *COMMANDS]!r}:
    try:
        main([*command, "--help"])
    except SystemExit as end:
        assert end.code == 0, command
heavy = {{"torch", "pandas", "numpy", "transformers", "librosa", "h5py", "sklearn", "scipy"}}
print("HEAVY", sorted({{name.split(".")[0] for name in sys.modules}} & heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert "--verbose" in done.stdout


def test_a_closed_pipe_gives_no_traceback():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "datasets", "ls"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""
