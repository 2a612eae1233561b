"""`audioheads backbones`: the table with its filters, a preset's page, and the check on this machine."""

import pytest
from huggingface_hub import constants

from features.backbones import get_record, names, preset_options
from features.backbones.loading.availability import missing_extra
from pipeline.cli import main

pytestmark = pytest.mark.usefixtures("global_state")

OPENSMILE = [name for name in ("opensmile", "egemaps", "compare2016") if missing_extra(name) is None]
NEEDS_NOTHING = {"mfcc", "logmel", "waveform", "wav2vec2-nano", *OPENSMILE}
HERE = [name for name in names() if name in NEEDS_NOTHING]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Exit code, stdout and stderr of a command, in an empty folder without a cache of the model hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["backbones", *map(str, arguments)])
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def listed(out):
    """First words of the rows."""
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_every_name_is_one_complete_line_when_piped(run):
    code, out, _ = run("ls")
    assert (code, listed(out)) == (0, names())
    rows = {line.split()[0]: " ".join(line.split()) for line in out.splitlines()}
    mms = rows["mms-300m"]
    assert "VoxPopuli, Multilingual LibriSpeech, Common Voice, VoxLingua107, BABEL" in mms
    assert "cc-by-nc-4.0 not allowed" in mms and "315438720" in mms and "downloads from the hub" in mms
    assert "facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8" in rows["wav2vec2-base"]
    assert "unknown LibriSpeech" in rows["wavlm-base"]
    assert "needs its file" in rows["yamnet"]


def test_filters(run):
    at_48_khz = listed(run("ls", "--rate", 48_000)[1])
    assert {"clap", "larger-clap-general", "larger-clap-music-and-speech", "openl3-env"} <= set(at_48_khz)
    assert {record.input.sample_rate_hz for name in at_48_khz if (record := get_record(name))} == {48_000}
    non_commercial = listed(run("ls", "--licence", "CC-BY-NC*")[1])
    assert non_commercial[:2] == ["mms-300m", "mms-1b"] and set(non_commercial) < set(names())
    assert {get_record(name).licence for name in non_commercial} <= {"cc-by-nc-4.0", "cc-by-nc-sa-4.0"}
    assert listed(run("ls", "--cached")[1]) == HERE
    assert listed(run("ls", "--cached", "--rate", 16_000, "--licence", "apache-2.0")[1]) == ["wav2vec2-nano"]
    code, _, error = run("ls", "--rate", 11_025)
    assert code == 2
    assert error == "--rate 11025: no backbone matches; available: 16000, 22050, 24000, 32000, 44100, 48000\n"
    code, _, error = run("ls", "--licence", "gpl*")
    assert code == 2 and error.startswith("--licence gpl*: no backbone matches; available: apache-2.0, ")
    code, _, error = run("ls", "--cached", "--rate", 48_000)
    assert code == 2 and "no backbone that matches is on this machine" in error


def test_a_file_or_a_complete_snapshot_on_this_machine_counts_as_cached(run, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "yamnet.tflite").write_bytes(b"")
    complete = ("config.json", "preprocessor_config.json", "model.safetensors")
    cached(tmp_path, "wav2vec2-base", *complete)
    cached(tmp_path, "hubert-base", *complete[:2])
    cached(tmp_path, "wavlm-base", "config.json", "preprocessor_config.json", "model.safetensors.index.json")
    _, out, error = run("ls", "--cached")
    assert set(listed(out)) == {*HERE, "wav2vec2-base", "yamnet"}, error


def cached(folder, preset, *files):
    """Files of a preset's repository in the hub's cache, empty objects."""
    repo, _, revision = preset_options(preset)["weights"].partition("@")
    snapshot = folder / "hf" / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for file in files:
        (snapshot / file).write_text("{}")


def test_a_missing_extra_is_named(run, monkeypatch):
    from importlib import metadata

    version = metadata.version

    def without_litert(name):
        if name == "ai-edge-litert":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_litert)
    _, out, _ = run("ls")
    assert "needs audioheads[litert]" in next(line for line in out.splitlines() if line.startswith("yamnet"))


def test_the_page_of_a_preset(run):
    code, out, _ = run("show", "mms-300m")
    facts = dict(line.strip().split("  ", 1) for line in out.split("\n\n")[0].splitlines()[1:])
    facts = {key: value.strip() for key, value in facts.items()}
    assert code == 0
    assert facts["revision"] == "4ee317ce793c53dbc041fc4376c7558292dd38dc"
    assert "not pinned: the newest is used" in run("show", "data2vec-audio-base")[1]
    assert facts["commercial use"] == "not allowed"
    assert facts["input"] == "16000 Hz, 1 channel (others are averaged)"
    assert facts["lengths"] == "0.025 s to max_duration_s; longer clips are processed in windows"
    assert "  lengths         1 sample to max_duration_s; " in run("show", "yamnet")[1]
    assert (facts["dimensions"], facts["parameters"], facts["fine-tuned on"]) == ("1024", "315,438,720", "–")
    assert "      - {name: mms-300m}\n      - {name: mms-300m, weights: random, label: mms-300m-untrained}\n" in out
    assert "published at" not in facts  # the weights are a repository
    assert "  published at    https://zenodo.org/records/3987831" in run("show", "panns-cnn14")[1]
    assert "size: for `random`" in out and "(here 'large-stable')" in out


@pytest.mark.parametrize("name", names())
def test_every_name_has_a_page_with_an_entry(run, name):
    code, out, error = run("show", name)
    assert (code, error) == (0, "")
    assert f"- {{name: {name}" in out


def test_code_that_has_to_be_trusted_is_named_and_has_no_untrained_control(run):
    _, out, _ = run("show", "eat-base")
    assert "  code            comes with the weights and runs only if it is trusted (trust)\n" in out
    assert "  revision        not pinned: trust names it\n" in out
    assert "- {name: eat-base, trust: worstchan/EAT-base_epoch30_pretrain@…}\n" in out
    assert "weights: random, label" not in out


def test_features_without_weights_have_the_licence_of_their_program(run):
    _, out, _ = run("show", "compare2016")
    assert "  licence         audeering-research\n  commercial use  not allowed\n" in out
    assert "pretrained on" not in out
    row = next(line for line in run("ls")[1].splitlines() if line.startswith("egemaps"))
    assert "audeering-research not allowed" in " ".join(row.split())


def test_an_unknown_fact_is_shown_as_such(run):
    _, out, _ = run("show", "whisper-base")
    assert "pretrained on   unknown" in out
    code, _, error = run("show", "whisper-bas")
    assert code == 2 and "did you mean 'whisper-base'?" in error


def test_check_prints_what_holds(run):
    code, out, _ = run("check", "logmel", "--device", "cpu")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "logmel: none; on cpu, 22050 Hz"
    assert [line.split()[0] for line in lines[1:-1]] == ["holds"] * 8
    assert lines[-1].startswith("logmel: 8 of 8 checks hold; ")


def test_check_fails_for_a_backbone_that_breaks_the_contract(run, monkeypatch):
    from features.backbones.networks.logmel import LogmelBackbone

    forward = LogmelBackbone.forward

    def centred(self, waveforms, lengths):
        return forward(self, waveforms - waveforms.mean(), lengths)

    monkeypatch.setattr(LogmelBackbone, "forward", centred)
    code, out, _ = run("check", "logmel", "--device", "cpu")
    assert code == 1
    assert "  FAILS    a clip in a batch equals the clip alone" in out
    assert "checks fail; " in out.splitlines()[-1]


def test_options_of_the_entry_are_set_as_in_a_config(run):
    code, _, error = run("check", "wav2vec2-base", "--set", "wieghts=random")
    assert code == 2 and "wieghts: unknown key, did you mean 'weights'?" in error
    code, out, _ = run(
        "check", "wav2vec2", "--set", "weights=random", "--set", "size=tiny", "--set", "label=mine", "--device", "cpu"
    )
    assert code == 0 and out.startswith("mine: random, sha256 ")
