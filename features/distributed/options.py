"""Config options for Ray actors. This module does not import Ray."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ActorOptions(BaseModel):
    """How a stage uses a Ray cluster with `--engine ray`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actors: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        None, description="number of actors; null: as many as the cluster has room for when the run starts"
    )
    cpus_per_actor: Amount | None = Field(
        None,
        description="cores per actor, may be fractional; null: the threads of a run without Ray, or with GPUs an equal "
        "part of the cores",
    )
    gpus_per_actor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="GPUs per actor, may be fractional; null: one if --device is cuda"
    )
