"""Audio of the page: the user's files, copies, or embedded audio."""

import base64
import io
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile as sf

from pipeline.console import Console
from pipeline.report.render.audio import Clip, audio_of, audio_sources, remove_unused
from pipeline.report.run import run_report
from pipeline.report.study import gather

pytestmark = pytest.mark.e2e  # runs whole experiments
EVERY = np.arange(36)


@pytest.fixture(scope="module")
def study(hostile):
    return gather(hostile)


def paths(study):
    return [clip.path for clip in audio_of(study, EVERY)]


def test_links_lead_from_the_page_to_the_user_s_files(hostile, study):
    folder = hostile.run_dir / "report"
    sources = audio_sources(study, audio_of(study, EVERY), folder)
    for source, clip in zip(sources, audio_of(study, EVERY), strict=True):
        url, _, part = source.partition("#")
        assert (folder / unquote(url)).is_file()
        if clip.path.suffix == ".wav":
            assert (folder / unquote(url)).samefile(clip.path)
        assert bool(part) == (clip.path.name == "long.wav")
    assert {source.partition("#")[2] for source in sources if "#" in source} == {
        "t=0.000,0.300", "t=0.300,0.600", "t=0.600,0.900", "t=0.900,1.200",
    }  # fmt: skip


def test_urls_have_no_characters_with_a_special_meaning(hostile, study):
    for source in audio_sources(study, audio_of(study, EVERY), hostile.run_dir / "report"):
        assert not set(source.partition("#")[0]) & set("<>\"'\\ {}#?\n\u202e")
        assert source.startswith(("../", "./", "audio/"))


def test_formats_that_browsers_do_not_play_are_converted(study, tmp_path):
    sources = audio_sources(study, audio_of(study, EVERY), tmp_path)
    for source, clip in zip(sources, audio_of(study, EVERY), strict=True):
        assert (clip.path.suffix == ".aiff") == source.startswith("audio/")
        if clip.path.suffix == ".aiff":
            assert np.allclose(sf.read(tmp_path / source)[0], sf.read(clip.path)[0], atol=1e-4)


def test_copies_are_the_same_bytes_and_parts_of_a_file_are_cut(study, tmp_path):
    sources = audio_sources(study, audio_of(study, EVERY), tmp_path, "copy")
    assert len(list((tmp_path / "audio").iterdir())) == len(set(sources)) == len(sources)
    for source, clip in zip(sources, audio_of(study, EVERY), strict=True):
        copy = tmp_path / source
        if clip.path.name == "long.wav":
            assert sf.info(copy).duration == pytest.approx(0.3)
        elif clip.path.suffix == ".wav":
            assert copy.read_bytes() == clip.path.read_bytes()
        assert sf.info(copy).format in ("WAV", "FLAC")
        assert copy.name.isascii()


def test_embedded_audio_is_a_short_mp3_that_decodes(study, tmp_path):
    sources = audio_sources(study, audio_of(study, EVERY), tmp_path, "embed")
    assert not list(tmp_path.iterdir())
    for source, clip in zip(sources[::6], audio_of(study, EVERY)[::6], strict=True):
        kind, _, coded = source.partition(",")
        assert kind == "data:audio/mpeg;base64"
        samples, rate = sf.read(io.BytesIO(base64.b64decode(coded)))
        assert samples.ndim == 1 and rate == 16_000
        length = clip.duration_s or sf.info(clip.path).duration
        assert len(samples) / rate == pytest.approx(length, abs=0.1)
        assert np.std(samples) > 0.05


def test_audio_of_any_rate_becomes_a_rate_that_mp3_has(study, tmp_path):
    for rate, wanted in ((4000, 8000), (11_000, 11_025), (44_100, 24_000), (192_000, 24_000)):
        path = tmp_path / f"{rate}.wav"
        sf.write(path, 0.1 * np.sin(np.arange(rate) / 9), rate)
        (source,) = audio_sources(study, [Clip(path, 0.0, None, "key")], tmp_path, "embed")
        assert sf.info(io.BytesIO(base64.b64decode(source.partition(",")[2]))).samplerate == wanted


def test_a_missing_or_invalid_file_has_no_url(study, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    clips = [Clip(tmp_path / name, 0.0, None, name) for name in ("gone.wav", "bad.wav")]
    for mode in ("link", "copy", "embed"):
        assert audio_sources(study, clips, tmp_path, mode) == [None, None]


def test_copies_are_created_once_and_removed_when_unused(hostile, tmp_path):
    run_report(hostile, console=Console(), output=tmp_path, audio="copy")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "audio").iterdir()}
    (tmp_path / "audio" / "mine.wav").write_bytes(b"the user's own")
    run_report(hostile, console=Console(), output=tmp_path, audio="copy")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run_report(hostile, console=Console(), output=tmp_path, audio="embed")
    assert [path.name for path in (tmp_path / "audio").iterdir()] == ["mine.wav"]


def test_removing_needs_no_folder(tmp_path):
    remove_unused(tmp_path, [None])
    assert not list(tmp_path.iterdir())
