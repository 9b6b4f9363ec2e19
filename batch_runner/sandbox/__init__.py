"""The simulated Kling API: a pure world, an HTTP door around it, faults on order, and made-up clips."""

from batch_runner.sandbox.fate import Fate, decide
from batch_runner.sandbox.faults import Fault, FaultPlan, RequestClass
from batch_runner.sandbox.server import Sandbox
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.world import PackConfig, PriceOf, World, WorldConfig

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
