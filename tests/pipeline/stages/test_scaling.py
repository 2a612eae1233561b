"""Stage 1 in shards and in Ray actors, from the command line; and the commands and configs of docs/scaling.md."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from features.distributed.cluster import import_ray
from features.store.verify import verify_table
from tests import processes
from tests.pipeline.small_corpora import tone

RATE, CLIPS = 16_000, 12
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
BLOCKS = ["--set", "features.block_rows=2", "--set", "features.threads=1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, label in enumerate(("low", "high")):
        for take in range(CLIPS // 2):
            tone(Path(f"sounds/{label}/{take}.wav"), 300 + 900 * number, 0.3, RATE, 10 * number + take)
    Path("sounds.yaml").write_text("dataset: {kind: folder, root: sounds}\nfeatures: {backbones: [{name: mfcc}]}\n")
    return tmp_path


def command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    from pipeline.cli.app import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def sealed_rows(cache: str) -> dict[str, bytes]:
    (path,) = Path(cache).rglob("*.h5")
    table = verify_table(path)
    return dict(zip(table.ids, (row.tobytes() for row in np.asarray(table.embeddings("mean"))), strict=True))


def test_shards_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["features", "sounds.yaml", *BLOCKS]
    code, out, _ = command_line([*command, "--shard", "1/3"], capsys)
    assert (code, "mfcc: 4 computed" in out) == (0, True)
    assert "; not finalized yet, still missing: --shard 2/3, 3/3" in out
    assert not Path("runs").exists(), "the run's folder is the last one's to write"
    code, out, _ = command_line([*command, "--shard", "3/3"], capsys)
    assert (code, "still missing: --shard 2/3" in out) == (0, True)
    code, out, _ = command_line([*command, "--shard", "2/3"], capsys)
    assert (code, "mfcc: 4 computed, 8 reused, 0 failed" in out, "missing" in out) == (0, True, False)
    assert set(json.loads(Path("runs/sounds/features.json").read_text())) == {"mfcc"}
    assert Path("runs/sounds/manifest.csv").is_file() and Path("runs/sounds/config.yaml").is_file()
    assert json.loads(Path("runs/sounds/failures.json").read_text()) == {}
    shared = sealed_rows("cache")
    assert command_line([*command, "--set", "output.cache=alone"], capsys)[0] == 0
    assert sealed_rows("alone") == shared


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--shard", "4/3"], "--shard 4/3: should be I/N with I from 1 to N, such as 1/8 for the first of eight"),
        (["--shard", "1/2", "--engine", "ray"], "--shard 1/2 and --engine ray: use only one of them"),
        (["--engine", "slurm"], "'slurm' is not an engine; use local or ray"),
        (["--engine", "ray", "--set", "features.ray.actors=0"], "features.ray.actors"),
    ],
)
def test_what_cannot_be_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], arguments, line) -> None:
    code, out, err = command_line(["features", "sounds.yaml", *arguments], capsys)
    assert (code, out) == (2, "")
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("cache").exists()


@pytest.mark.parametrize(
    ("address", "code", "line"),
    [
        ("ray://head:10001", 2, "RAY_ADDRESS=ray://head:10001: should be auto or HOST:PORT of the cluster's head"),
        ("127.0.0.1:1", 1, "RAY_ADDRESS=127.0.0.1:1: no cluster answers there ("),
    ],
)
@needs_ray
def test_an_address_that_will_not_do_is_one_line(folder: Path, capsys, monkeypatch, address, code, line) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    ended, _, err = command_line(["features", "sounds.yaml", "--engine", "ray"], capsys)
    assert (ended, err[: len(line)], len(err.strip().splitlines())) == (code, line, 1)


@pytest.mark.slow
@needs_ray
def test_ray_on_this_machine_leaves_the_cache_and_nothing_else(folder: Path) -> None:
    psutil = pytest.importorskip("psutil", reason="needs the extra `dev`")
    home, temporary = folder / "home", folder / "t"
    home.mkdir()
    temporary.mkdir()
    here = {"HOME": str(home), "TMPDIR": str(temporary) if len(str(temporary)) <= 40 else "/tmp"}
    actors = ["--set", "features.ray={actors: 1, cpus_per_actor: 0.5}"]
    done = processes.audioheads("features", "sounds.yaml", *BLOCKS, *actors, "--engine", "ray", **here)
    assert done.returncode == 0, done.stderr
    assert "mfcc: 12 computed, 0 reused, 0 failed" in done.stdout
    assert done.stderr == ""
    assert [path for path in (*home.rglob("*"), *temporary.rglob("*")) if "ray" in path.name] == []
    mine = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in mine if any(str(folder) in part for part in command)]
    alone = processes.audioheads("features", "sounds.yaml", *BLOCKS, "--set", "output.cache=alone")
    assert alone.returncode == 0, alone.stderr
    assert sealed_rows("alone") == sealed_rows("cache")


@pytest.mark.slow
@needs_ray
def test_all_backbones_of_a_run_share_one_cluster(folder: Path, capsys, monkeypatch) -> None:
    ray = import_ray()
    started = []

    def init(right=ray.init, **options):
        started.append(options["address"])
        return right(**options)

    monkeypatch.setattr(ray, "init", init)
    two = "features.backbones=[{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]"
    actors = "features.ray={actors: 1, cpus_per_actor: 0.5}"
    command = ["features", "sounds.yaml", *BLOCKS, "--set", two, "--set", actors, "--engine", "ray"]
    code, out, _ = command_line(command, capsys)
    assert (code, out.count("12 computed, 0 reused, 0 failed")) == (0, 2)
    assert started == ["local"]
    assert not ray.is_initialized()
    started.clear()
    assert command_line(command, capsys)[0] == 0
    assert started == [], "a run that finds everything there starts none"
