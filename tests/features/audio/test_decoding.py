"""Decoding, mono, resampling: unusual files work, and the samples equal librosa's."""

import os

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.audio import decoding as audio
from features.audio import file as audio_file
from features.audio.decoding import probe, read_waveform, stream_windows
from features.errors import AudioError
from tests.features.toys import noise

ignore_audioread = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")


def write(path, samples, rate=8000, **options):
    sf.write(path, samples, rate, **options)
    return path


def test_silence_stays_silent(tmp_path):
    wave = read_waveform(write(tmp_path / "a.wav", np.zeros(800)), 16000)
    assert wave.samples.shape == (1600,)
    assert wave.samples.dtype == np.float32
    assert not wave.samples.any()
    assert wave.duration_s == 0.1


@pytest.mark.parametrize(("rate", "wanted", "length"), [(8000, 8000, 1), (8000, 22050, 3), (192000, 16000, 1)])
def test_one_sample_is_a_clip(tmp_path, rate, wanted, length):
    path = write(tmp_path / "a.wav", np.array([0.5], dtype=np.float32), rate, subtype="FLOAT")
    assert len(read_waveform(path, wanted).samples) == length


def test_eight_channels_become_their_mean(tmp_path):
    samples = noise(500, channels=8)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(read_waveform(path, 8000).samples, samples.mean(axis=1), atol=1e-7)


def test_eight_bit_and_float64(tmp_path):
    samples = noise(500)
    eight = read_waveform(write(tmp_path / "a.wav", samples, subtype="PCM_U8"), 8000).samples
    assert 0 < np.abs(eight - samples).max() < 1 / 100
    double = read_waveform(write(tmp_path / "b.wav", samples.astype("f8"), subtype="DOUBLE"), 8000).samples
    np.testing.assert_array_equal(double, samples)


def test_samples_beyond_one_are_kept(tmp_path):
    path = write(tmp_path / "a.wav", np.array([4.0, -7.5, 0.25], dtype=np.float32), subtype="FLOAT")
    assert read_waveform(path, 8000).samples.tolist() == [4.0, -7.5, 0.25]


@pytest.mark.parametrize("name", ["a b  c.wav", "Übung – 日本.flac", "x'\"$(y).ogg", "no suffix"])
def test_any_name_will_do(tmp_path, name):
    form = {".flac": "FLAC", ".ogg": "OGG"}.get(os.path.splitext(name)[1], "WAV")  # noqa: PTH122
    assert len(read_waveform(write(tmp_path / name, noise(700), format=form), 8000).samples) == 700


def test_the_content_decides_not_the_suffix(tmp_path):
    path = write(tmp_path / "a.wav", noise(4000), format="OGG", subtype="VORBIS")
    assert len(read_waveform(path, 8000).samples) == 4000


@ignore_audioread
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "RF64", "CAF"])
@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (16000, 22050), (48000, 48000), (11025, 16000)])
def test_mono_and_resampled_as_librosa_does_it(tmp_path, form, rate, wanted):
    path = write(tmp_path / "a", noise(rate // 3 + 1, channels=2), rate, format=form)
    ours, theirs = read_waveform(path, wanted).samples, librosa.load(path, sr=wanted, mono=True)[0]
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


@ignore_audioread
def test_192_khz_as_librosa_does_it(tmp_path):
    path = write(tmp_path / "a.wav", noise(192_000), 192_000)
    np.testing.assert_allclose(read_waveform(path, 16000).samples, librosa.load(path, sr=16000)[0], atol=2e-6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 30_000),
    st.sampled_from([8000, 11025, 16000, 44100]),
    st.sampled_from([8000, 16000, 22050]),
    st.integers(300, 9000),
    st.integers(200, 6000),
)
def test_windows_together_are_the_clip(tmp_path, monkeypatch, n, rate, wanted, window, piece):
    monkeypatch.setattr(audio_file, "STREAM_FRAMES", piece)
    path = write(tmp_path / "a.wav", noise(n), rate)
    whole = read_waveform(path, wanted).samples
    windows = list(stream_windows(path, wanted, window))
    assert [len(w) for w in windows[:-1]] == [window] * (len(windows) - 1)
    assert 1 <= len(windows[-1]) <= window
    joined = np.concatenate(windows)
    assert joined.dtype == np.float32
    assert len(joined) == len(whole)
    np.testing.assert_allclose(joined, whole, atol=3e-6)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(("start", "length"), [(0.0, 0.25), (0.5, 0.25), (0.3337, None), (0.9, 0.105)])
def test_a_segment_is_a_slice_resampled(tmp_path, form, start, length):
    path = write(tmp_path / "a", noise(44100), 44100, format=form)
    whole = sf.read(path, dtype="float32")[0]
    stop = None if length is None else round((start + length) * 44100)
    sliced = audio.resample(whole[round(start * 44100) : stop], 44100, 16000)
    ours = read_waveform(path, 16000, start, length).samples
    assert len(ours) == len(sliced)
    if form != "MP3":  # a seek in MP3 starts without the bits that earlier frames lent
        np.testing.assert_allclose(ours, sliced, atol=1e-6)
    streamed = np.concatenate(list(stream_windows(path, 16000, 1000, start, length)))
    np.testing.assert_allclose(streamed, ours, atol=3e-6)


def test_a_segment_reads_only_its_part(tmp_path):
    samples = noise(8000)
    samples[6000:] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert len(read_waveform(path, 8000, 0.25, 0.5).samples) == 4000
    with pytest.raises(AudioError, match="2000 samples are NaN"):
        read_waveform(path, 8000)


@pytest.mark.parametrize(("start", "length"), [(1.0, None), (0.5, 0.6), (2.0, 1.0)])
def test_a_segment_outside_the_file_is_refused(tmp_path, start, length):
    path = write(tmp_path / "a.wav", noise(8000))
    with pytest.raises(AudioError, match=r"is outside the file \(1.000 s\)"):
        read_waveform(path, 8000, start, length)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_not_a_number_is_refused(tmp_path, bad, channels):
    samples = noise(300, channels=channels).reshape(300, channels)
    samples[100, 0] = bad
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="1 samples are NaN or infinite"):
        read_waveform(path, 16000)
    with pytest.raises(AudioError, match="1 samples are NaN or infinite"):
        list(stream_windows(path, 16000, 100))


def garbage(path):
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def header_only(path):
    sf.write(path, np.zeros(0), 8000, format="WAV")


def dangling(path):
    path.symlink_to("nowhere.wav")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (garbage, "cannot be decoded"),
        (lambda path: path.write_text("<html>404</html>"), "cannot be decoded"),
        (lambda path: path.touch(), "empty"),
        (header_only, "contains no samples"),
        (dangling, "dangling link"),
        (lambda path: path.symlink_to(path.name), "dangling link"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: os.mkfifo(path), "device or pipe"),
        (lambda path: None, "file not found"),
    ],
)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "au", "raw", "gsm"])
def test_other_files_are_refused_with_a_reason_in_one_line(tmp_path, make, reason, suffix):
    path = tmp_path / f"a.{suffix}"
    make(path)
    if suffix in ("raw", "gsm", "au") and reason in ("cannot be decoded", "contains no samples"):
        reason += "|no header|not an audio"
    with pytest.raises(AudioError, match=reason) as first:
        probe(path)
    assert "\n" not in str(first.value)
    assert "()" not in str(first.value)
    with pytest.raises(AudioError, match=reason):
        read_waveform(path, 8000)


def test_a_name_the_system_refuses_is_a_reason_too(tmp_path):
    with pytest.raises(AudioError, match="cannot be read"):
        read_waveform(tmp_path / ("x" * 300), 8000)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x20ftypM4A ", "libsndfile does not read MPEG-4 audio"),
        (b"\x1aE\xdf\xa3", "libsndfile does not read Matroska or WebM"),
        (b"no header at all", "its format is not recognised"),
    ],
)
def test_an_unknown_format_is_named_with_the_way_to_convert_it(tmp_path, head, what):
    path = tmp_path / "a song.m4a"
    path.write_bytes(head + bytes(100))
    with pytest.raises(AudioError) as error:
        probe(path)
    assert str(error.value).startswith(f"cannot be decoded ({what}")
    assert str(error.value).endswith(
        "; convert it to WAV or FLAC, for example with ffmpeg -i 'a song.m4a' 'a song.flac'"
    )
