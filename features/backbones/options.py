"""Options shared by all entries of `features.backbones`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BackboneOptions(BaseModel):
    """Options shared by all entries of `features.backbones`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a backbone or preset, see `audioheads backbones ls`")
    label: str | None = Field(None, description="the name in tables and files (default: `name`)")
    max_duration_s: float = Field(30.0, ge=10.0, description="longer clips are processed in windows of this length")

    @property
    def title(self) -> str:
        """The name used in messages and by `--set`; a config may have several entries with one `name`."""
        return self.label or self.name
