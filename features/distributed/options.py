"""What a config says of Ray actors. Needs no Ray."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ActorOptions(BaseModel):
    """How stage 1 spreads over a Ray cluster under `--engine ray`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actors: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        None, description="how many; null: as many as the cluster has room for when the run starts"
    )
    cpus_per_actor: Amount | None = Field(
        None, description="cores, or a fraction of one; null: features.threads, on a GPU its share of the cores"
    )
    gpus_per_actor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="GPUs, or a fraction of one; null: one where --device is cuda"
    )
