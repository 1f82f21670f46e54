"""The environment in which CrewAI sends nothing anywhere and writes only to a temporary place.

CrewAI reads it when it is imported: set it before, for this process and those that it starts.
"""

from __future__ import annotations

import os


def be_quiet(home: str) -> None:
    """No telemetry and no traces; what CrewAI and crew_nb keep goes below `home`."""
    os.environ |= {
        "CREWAI_DISABLE_TELEMETRY": "true",
        "OTEL_SDK_DISABLED": "true",
        "CREWAI_TRACING_ENABLED": "false",
        "CREWAI_STORAGE_DIR": f"{home}/crewai",
        "CREW_NB_HOME": f"{home}/crew_nb",
    }
