"""What every entry of `features.backbones` may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BackboneOptions(BaseModel):
    """What every entry of `features.backbones` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="a backbone or preset, see `audioheads backbones ls`")
    label: str | None = Field(None, description="the name in tables and files, where it differs from `name`")
    max_duration_s: float = Field(30.0, ge=10.0, description="longer clips go through in windows of this length")

    @property
    def title(self) -> str:
        """What messages call it, and `--set` finds it by: a config may have several of one name."""
        return self.label or self.name
