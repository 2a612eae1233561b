"""What the report of a run measured about the decisions of a model, for the card and `config.json` of an export."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.predicting.listing import reported_row
from pipeline.predicting.locate import FoundModel
from pipeline.results.decisions.false_alarm_rows import ALL
from pipeline.results.decisions.fit_decisions import KEYS
from pipeline.results.decisions.threshold_rows import MICRO

RATES = {"precision": "precision", "recall": "recall", "false_positive_rate": "false-positive rate"}
STORED = "measured_decisions"  # key of `config.json`
Row = Mapping[str, Any]


@dataclass(frozen=True)
class MeasuredDecisions:
    """Rows of the tables of a report about one model; empty without a report.

    Attributes:
        calibration: Rows of `calibration.csv`: without a map, and with the one that the model applies.
        thresholds: The row of `thresholds.csv` about all decisions together; None: no operating point was chosen.
        false_alarms: The row of `false_alarms.csv` about all classes, for what the export decides; None: no background.
    """

    calibration: Sequence[Row] = ()
    thresholds: Row | None = None
    false_alarms: Row | None = None

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self.calibration or self.thresholds or self.false_alarms)

    def stored(self) -> dict[str, Any]:
        """Return what `config.json` keeps; empty if nothing was measured."""
        return {STORED: asdict(self)} if self else {}

    def table(self) -> str:
        """Return the scores with their intervals as a Markdown table; empty if nothing was measured."""
        lines = [f"| {name} | {_number(value)} | {_interval(low, high)} |" for name, value, low, high in self._scores()]
        return (
            "\n".join(["| measured on test clips | value | 95 % interval |", "|---|---:|---:|", *lines])
            if lines
            else ""
        )

    def background(self) -> str:
        """Return one sentence about the background on which false alarms were counted; empty without one."""
        row = self.false_alarms
        if row is None:
            return ""
        recordings = "1 recording" if row["recordings"] == 1 else f"{row['recordings']:.0f} recordings"
        return (
            f"False alarms were counted on {row['hours']:.3g} h of background in {recordings}. What decides is: "
            f"{row['rule']}. The interval is {row['interval']}."
        )

    def _scores(self) -> Iterator[tuple[str, float | None, float | None, float | None]]:
        """Yield names of scores, their values and the ends of their intervals."""
        for row in self.calibration:
            how = "without calibration" if row["calibration"] == "none" else f"with {row['calibration']}"
            yield f"expected calibration error, {how}", row["ece"], None, None
            for name, shown in (("brier", "Brier score"), ("log_loss", "log loss")):
                yield f"{shown}, {how}", *_estimate(row, name)
        if self.thresholds is not None:
            for rate, name in RATES.items():
                yield f"{name} at `{self.thresholds['rule']}`, all classes", *_estimate(self.thresholds, rate)
        if self.false_alarms is not None:
            yield "false alarms per hour of background", *_estimate(self.false_alarms, "false_alarms_per_hour")


def measured_decisions(model: FoundModel) -> MeasuredDecisions:
    """Return what the current report of a model's run measured, or what an exported folder says.

    A report that is older than the model counts for nothing, see `reported_row`.
    """
    if model.exported is not None:
        return MeasuredDecisions(**model.about.get(STORED, {}))
    row = reported_row(model)
    if not row or model.run_dir is None:
        return MeasuredDecisions()
    rows = {
        name: [
            one
            for one in _read(model.run_dir / "report" / f"{name}.csv")
            if all(one.get(key) == row.get(key) for key in KEYS)
        ]
        for name in ("calibration", "thresholds", "false_alarms")
    }
    together = [one for one in rows["thresholds"] if one["scope"] == MICRO and one.get("rule")]
    alarms = [one for one in rows["false_alarms"] if one["scope"] == ALL]  # first those of the model's own thresholds
    averaged = [one for one in alarms if one["averaged"] and len(model.fits) > 1]
    return MeasuredDecisions(
        [one for one in rows["calibration"] if one["applied"] or one["calibration"] == "none"],
        next(iter(together), None),
        next(iter(averaged or alarms), None),
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table of a report, with numbers as numbers; none if there is no such table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: text if key in KEYS or key == "class" else _value(text) for key, text in row.items()}
            for row in csv.DictReader(file)
        ]


def _value(text: str) -> Any:
    """Return a cell as a number, a truth value or text; None if it is empty."""
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    try:
        return float(text)
    except ValueError:
        return text


def _estimate(row: Row, name: str) -> tuple[float | None, float | None, float | None]:
    return row[name], row[f"{name}_ci_low"], row[f"{name}_ci_high"]


def _number(value: float | None) -> str:
    """Return a value with three digits after the point, fewer if it is large."""
    return "–" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_number(low)}–{_number(high)}"
