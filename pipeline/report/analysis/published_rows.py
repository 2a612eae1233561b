"""Figures that others have published, as `configs/published.yaml` lists them."""

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
    """How a published figure was come by; None where its source does not say."""

    training: Literal["frozen", "finetuned", "scratch", "none"] | None = Field(None, description="of the model")
    head: Text | None = Field(None, description="on frozen features: linear, mlp, knn, random forest, …")
    pooling: Text | None = Field(None, description="of frames to one vector: mean, mean+std, …")
    layer: Literal["last", "chosen", "all"] | None = Field(None, description="of the backbone")
    clips: Count | None = Field(None, description="of the whole dataset")
    folds: Literal["official", "shuffled", "drawn"] | None = Field(None, description="what divides the clips")
    shots: Count | None = Field(None, description="training clips per class, where they are few")
    figure: Literal["mean of folds", "test accuracy", "best validation accuracy"] | None = Field(
        None, description="what the number is"
    )


class PublishedRow(ConfigSection):
    """One published figure."""

    dataset: Text = Field(description="esc50, gtzan, fsdd, …")
    model: Text = Field(description="as this program's tables call it, where it knows the model")
    aliases: list[Text] = Field([], description="other names and hub ids of the same weights")
    accuracy: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    protocol: PublishedProtocol = PublishedProtocol()
    source: Text = Field(description="where it was published")


def read_published(path: Path | None = None) -> list[PublishedRow]:
    """The rows of a file, or of the one that comes with the program.

    Raises:
        ConfigError: It cannot be read or is wrong; one line per mistake, each naming the row.
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
    mistakes: list[FieldError] = []
    for at, item in enumerate(items):
        row, found = validate(PublishedRow, item, (at,))
        mistakes += found
        if row is not None:
            rows.append(row)
    if mistakes:
        raise ConfigError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return rows


def shipped() -> Path:
    """The file that comes with the program: inside the installed package, or among a checkout's configs."""
    installed = Path(__file__).parents[1] / FILE
    return installed if installed.is_file() else Path(__file__).parents[3] / "configs" / FILE
