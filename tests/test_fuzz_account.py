"""Whatever the account says of itself: ``doctor`` and ``ledger --reconcile`` end in words, and what they say is clean.

Both commands whole, on what the sandbox answers and what became of that on its way. Allowed are the documented exit
codes; not allowed are any other exception, text that a terminal would obey, figures that JSON has not, and a secret.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzz_kit import fuzzing
from hypothesis import given
from hypothesis import strategies as st
from seeded_loop import prompt_settle_s
from simulation import Scenario, Simulation, simulate
from test_fuzz_answers import logged, require_no_secrets
from wire_damage import Plan, Wire, plans

from batch_runner.answer import Answer
from batch_runner.doctor import examine
from batch_runner.errors import AccountError, ExitCode, StoppedError
from batch_runner.reconciling import reconcile
from batch_runner.sandbox import WorldConfig
from batch_runner.settings import Settings, resolve

Command = Callable[[Simulation, Settings], Awaitable[Answer]]


async def examined(simulation: Simulation, settings: Settings) -> Answer:
    return await examine(settings, simulation.environ)


async def reconciled(simulation: Simulation, settings: Settings) -> Answer:
    return await reconcile(settings, simulation.environ, simulation.clock)


def play(command: Command, each: Sequence[Plan]) -> Counter[str]:
    """A finished batch, and after it the command, once for each plan; how it ended."""
    ends = Counter[str]()
    wire = Wire({})

    async def work(simulation: Simulation) -> None:
        simulation.environ = {"KLING_API_KEY": simulation.sandbox.api_key}
        await simulation.run()
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url, "rpm": 0}
        for plan in each:
            wire.damage(plan)
            with logged() as said:
                ends[await ended(command(simulation, resolve(flags, {}, None)), said)] += 1
            require_no_secrets(simulation, "\n".join(said))

    world = WorldConfig(max_concurrent=3, rpm=None, speed=30.0)
    scenario = Scenario(slots=3, rpm=0, lines=(json.dumps({"id": "a", "prompt": "a fox"}),), world=world,
                        settle_s=prompt_settle_s())  # fmt: skip
    with TemporaryDirectory() as folder, wire.before():
        simulate(scenario, Path(folder), work)
    return ends


async def ended(answering: Awaitable[Answer], said: list[str]) -> str:
    """The name of the exit code; whatever else is raised fails the test. What was said comes to ``said``."""
    try:
        answer = await answering
    except (AccountError, StoppedError) as error:
        said.append(str(error))
        return error.exit_code.name
    said += [*answer.lines, json.dumps(answer.data, allow_nan=False)]
    assert all(line.isprintable() for line in answer.lines), answer.lines
    assert answer.exit_code in {ExitCode.OK, ExitCode.ACCOUNT, ExitCode.STOPPED}
    return answer.exit_code.name


@pytest.mark.parametrize("command", [examined, reconciled])
def test_whatever_the_account_says_of_itself_the_command_ends_in_words(command: Command) -> None:
    ends = Counter[str]()

    @fuzzing(8)
    @given(st.lists(plans(), min_size=8, max_size=8))
    def whatever_it_is(each: list[Plan]) -> None:
        ends.update(play(command, each))

    whatever_it_is()
    assert ends[ExitCode.OK.name] >= 10, ends
    assert len(ends) > 1, "some of it was told"
