"""Audio arguments become clips."""

import io

from pipeline.recordings.clips import find_clips


def test_a_byte_order_mark_on_stdin_is_no_part_of_a_name():
    clips = find_clips(["-"], io.StringIO("\ufeffa.wav\r\nb.wav\r\n")).clips
    assert clips["path"].tolist() == ["a.wav", "b.wav"]
