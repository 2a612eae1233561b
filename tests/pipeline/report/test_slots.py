"""A backbone has the same colour in all charts of a page."""

from pipeline.report.figure import Axis, Figure, Series, Slot, slots

ORDER = ("yamnet", "mfcc", "wav2vec2")


def figure(*series: Series) -> Figure:
    return Figure("", Axis("x"), Axis("y"), series, order=ORDER)


def series(name: str, of: str = "", dashed: bool = False) -> Series:
    return Series(name, [1.0], [1.0], of=of, dashed=dashed)


def test_a_backbone_keeps_its_slot_in_every_chart() -> None:
    assert slots(figure(series("mfcc", "mfcc"))) == [Slot(1)]
    assert slots(figure(series("front", dashed=True), series("wav2vec2 · linear", "wav2vec2"))) == [None, Slot(2)]
    assert slots(figure(*(series(name, name) for name in reversed(ORDER)))) == [Slot(2), Slot(1), Slot(0)]


def test_heads_of_a_backbone_share_its_colour_and_differ_otherwise() -> None:
    two_heads = [series(f"{name} · {head}", name) for name in ("mfcc", "wav2vec2") for head in ("linear", "knn")]
    assert slots(figure(*two_heads)) == [Slot(1), Slot(1, 1), Slot(2), Slot(2, 1)]
    assert slots(figure(series("training"), series("training"), series("validation"))) == [Slot(0), Slot(0), Slot(1)]


def test_names_without_a_backbone_keep_off_its_colour() -> None:
    assert slots(figure(series("other"), series("yamnet", "yamnet"))) == [Slot(1), Slot(0)]
