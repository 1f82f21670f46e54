"""The work in other processes, here and on other machines: Dask's client and worker side.

A `Runner` that a door hands to a batch; `distributed` is imported here only. Imports the engine and what is below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_nb._engine.engine import HERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._engine.engine import Runner
    from crew_nb._state.options import Options


def runner_for(plans: Sequence[Plan], options: Options) -> Runner:
    """Where `options.on` says that the plans are run: this process, where it says nothing.

    Raises:
        OptionError: When `on` is nothing that runs can be run on.
        BlueprintError: When a crew or an input cannot travel there.
    """
    if options.on is None:
        return HERE
    if isinstance(options.on, str | int):
        from crew_nb._cluster.cores import on_cores

        return on_cores(options.on, plans, options)
    from crew_nb._cluster.client import Cluster

    return Cluster(options.on, plans, options)
