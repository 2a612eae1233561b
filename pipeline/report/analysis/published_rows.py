"""Published results, as listed in `configs/published.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from features.errors import ConfigError
from pipeline.config.errors import FieldError, shown, validate
from pipeline.config.schema import ConfigSection
from pipeline.config.yaml import YamlError, parse_yaml

FILE = "published.yaml"
Text = Annotated[str, Field(min_length=1, max_length=300)]
Count = Annotated[int, Field(strict=True, ge=1)]


class PublishedProtocol(ConfigSection):
    """Protocol of a published result; None for what the source does not state."""

    training: Literal["frozen", "finetuned", "scratch", "none"] | None = Field(
        None, description="how the model was trained"
    )
    head: Text | None = Field(None, description="head on frozen features: linear, mlp, knn, random forest, …")
    pooling: Text | None = Field(None, description="pooling of frames to one vector: mean, mean+std, …")
    layer: Literal["last", "chosen", "all"] | None = Field(None, description="layer of the backbone")
    clips: Count | None = Field(None, description="number of clips in the dataset")
    folds: Literal["official", "shuffled", "drawn"] | None = Field(None, description="origin of the folds")
    shots: Count | None = Field(None, description="training clips per class, for few-shot protocols")
    figure: Literal["mean of folds", "test accuracy", "best validation accuracy"] | None = Field(
        None, description="meaning of the number"
    )


class PublishedRow(ConfigSection):
    """One published result."""

    dataset: Text = Field(description="esc50, gtzan, fsdd, …")
    model: Text = Field(description="name of the model in audioheads, if it has the model")
    aliases: list[Text] = Field([], description="other names and hub ids of the same weights")
    accuracy: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    protocol: PublishedProtocol = PublishedProtocol()
    source: Text = Field(description="where it was published")


def read_published(path: Path | None = None) -> list[PublishedRow]:
    """Read published results.

    Args:
        path: The file; None reads the file that is part of the package.

    Raises:
        ConfigError: The file cannot be read or is invalid; one line per error, with the row.
    """
    path = shipped() if path is None else path
    try:
        items = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(items, list):
        raise ConfigError(f"{path}: should be a list of rows such as {{dataset: …, model: …}}, got {shown(items)}")
    rows: list[PublishedRow] = []
    errors: list[FieldError] = []
    for at, item in enumerate(items):
        row, found = validate(PublishedRow, item, (at,))
        errors += found
        if row is not None:
            rows.append(row)
    if errors:
        raise ConfigError("\n".join(f"{path}: {error}" for error in errors))
    return rows


def shipped() -> Path:
    """Return the path of the file in the installed package or in the `configs` folder of a checkout."""
    installed = Path(__file__).parents[1] / FILE
    return installed if installed.is_file() else Path(__file__).parents[3] / "configs" / FILE
