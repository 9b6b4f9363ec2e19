"""The simulated Kling API: a pure world, an HTTP door around it, faults on order, and made-up clips."""

from typing import TYPE_CHECKING

from batch_runner.on_demand import names_of

if TYPE_CHECKING:
    from batch_runner.sandbox.config import PackConfig, WorldConfig
    from batch_runner.sandbox.fate import Fate, decide
    from batch_runner.sandbox.faults import Fault, FaultPlan, RequestClass
    from batch_runner.sandbox.server import Sandbox
    from batch_runner.sandbox.task import SandboxTask
    from batch_runner.sandbox.world import PriceOf, World

__all__ = [
    "Fate",
    "Fault",
    "FaultPlan",
    "PackConfig",
    "PriceOf",
    "RequestClass",
    "Sandbox",
    "SandboxTask",
    "World",
    "WorldConfig",
    "decide",
]

__getattr__ = names_of(  # a rehearsal needs the law of fates, not the server
    __name__,
    {
        "config": ("PackConfig", "WorldConfig"),
        "fate": ("Fate", "decide"),
        "faults": ("Fault", "FaultPlan", "RequestClass"),
        "server": ("Sandbox",),
        "task": ("SandboxTask",),
        "world": ("PriceOf", "World"),
    },
)
