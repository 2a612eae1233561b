"""Provenance: how to reproduce the numbers, and the caches, weights and versions behind them."""

from __future__ import annotations

from pipeline.config.config import dump_config
from pipeline.report.analysis.provenance import (
    commands_of,
    commit_of,
    machine_of,
    now_utc,
    sources_of,
    stages_of,
    versions_of,
)
from pipeline.report.section import Section
from pipeline.report.study import Study


def section(study: Study) -> Section:
    """Build the section with commands, config, caches, run times and versions."""
    stages = stages_of(study)
    return Section(
        key="provenance",
        title="Provenance",
        template="provenance.html",
        context={
            "commands": commands_of(study.config),
            "config": dump_config(study.config),
            "run_dir": str(study.config.run_dir),
            "sources": sources_of(study),
            "stages": stages,
            "total_s": sum(stage.seconds for stage in stages),
            "versions": versions_of(study),
            "facts": {"report created": now_utc(), "machine": machine_of(), "commit": commit_of()},
        },
    )
