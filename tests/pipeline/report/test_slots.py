"""A backbone has the same colour in all charts of a page."""

from pipeline.report.figure import Axis, Figure, Series, slots

ORDER = ("yamnet", "mfcc", "wav2vec2")


def figure(*series: Series) -> Figure:
    return Figure("", Axis("x"), Axis("y"), series, order=ORDER)


def series(name: str, of: str = "", dashed: bool = False) -> Series:
    return Series(name, [1.0], [1.0], of=of, dashed=dashed)


def test_a_backbone_keeps_its_slot_in_every_chart() -> None:
    assert slots(figure(series("mfcc", "mfcc"))) == [1]
    assert slots(figure(series("front", dashed=True), series("wav2vec2 · linear", "wav2vec2"))) == [None, 2]
    assert slots(figure(*(series(name, name) for name in reversed(ORDER)))) == [2, 1, 0]


def test_no_two_names_share_a_slot() -> None:
    two_heads = [series(f"{name} · {head}", name) for name in ("mfcc", "wav2vec2") for head in ("linear", "knn")]
    assert slots(figure(*two_heads)) == [1, 0, 2, 3]
    assert slots(figure(series("training"), series("training"), series("validation"))) == [0, 0, 1]
