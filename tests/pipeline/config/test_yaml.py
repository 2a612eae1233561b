"""Plain values and errors of the project's YAML."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.yaml import YamlError, dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-3E5", -3e5),
        (".5", 0.5),
        ("7", 7),
        ("0x1F", 31),
        ("007", "007"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("org/name@main", "org/name@main"),
        ('"1e-3"', "1e-3"),
    ],
)
def test_plain_values(text, value):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["line 3", "'a'", "twice", "line 1"]),
        ("x:\n  a: 1\n  'a': 2", ["line 3", "'a'", "twice"]),
        ("a: [1, 2", ["line 1", "expected"]),
        ("a: b: c", ["line 1", "mapping values"]),
        ("- 1\n---\n- 2", ["line 2", "single document"]),
        ("!!python/object:os.system {}", ["line 1", "tag"]),
        ("a\x00b", ["U+0000"]),
    ],
)
def test_mistakes_name_the_line(text, words):
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_merged_key_may_be_changed():
    assert parse_yaml("base: &b {p: 1, q: 2}\nmine: {<<: *b, p: 3}")["mine"] == {"p": 3, "q": 2}


BOMB = "\n".join([f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" if n else "a0: &a0 [x]" for n in range(12)])
MERGES = "\n".join(
    [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" if n else "a0: &a0 {x: 1}" for n in range(12)]
)


@pytest.mark.parametrize("text", [BOMB, MERGES], ids=["aliases", "merges"])
def test_a_few_lines_that_expand_to_billions_of_values_are_refused(text):
    with pytest.raises(YamlError, match=r"^line 6, column \d+: more than 100000 values, aliases expanded$"):
        parse_yaml(text)


def test_a_value_that_holds_itself_is_refused():
    with pytest.raises(YamlError, match=r"line 2, column 4: an alias inside the value that it refers to"):
        parse_yaml("b: 1\na: &a [1, *a]")


@pytest.mark.parametrize("number", ["1" * 100_000, "1" * 100_000 + ".5", "0x" + "f" * 100_000])
@pytest.mark.parametrize("text", ["a: {}", "[{}]", "a: !!int {}"])
def test_a_number_of_100_000_digits_is_one_short_line(number, text):
    with pytest.raises(YamlError, match=r"^line 1, column \d: a number of 10000\d characters") as error:
        parse_yaml(text.format(number))
    assert len(str(error.value)) < 200


def test_aliases_are_values_like_any_other():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
PLAIN |= st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])) | st.sampled_from(
    ["1e-3", "no", "007", "null", "=", "<<", "0o7", "1.", "2024-01-01", "12:30", "a: b", "# x", "- x", "\n", " a"]
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text("abcxyz_", min_size=1), inner))


@given(VALUES)
def test_dumped_values_read_back_the_same(value):
    read = parse_yaml(dump_yaml(value))
    assert read == value
    assert repr(read) == repr(value)  # True is not 1, 1.0 is not 1


def test_infinity_survives():
    assert math.isinf(parse_yaml(dump_yaml([float("inf")]))[0])
