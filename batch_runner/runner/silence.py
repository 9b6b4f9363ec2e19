"""What is said where the account does not tell whether it has tasks of earlier runs, and when that ends a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batch_runner.errors import AccountError
from batch_runner.model import Route
from batch_runner.runner.context import Context
from batch_runner.runner.inquiry import UnsettledError
from batch_runner.runner.lists import LISTS, list_of
from batch_runner.wording import some_of


@dataclass(frozen=True, slots=True)
class Silence:
    """A list that does not tell after a loss, when any line may have had a task on it before an edit; and why."""

    route: Route
    error: UnsettledError | AccountError


def raise_refusal(silences: Iterable[Silence], *, is_heard: bool) -> None:
    """Where nothing shows that the keys are good, a list of no line that is refused tells of bad ones.

    Not one that only an API key reaches.

    Raises:
        AccountError: that refusal.
    """
    for silence in silences:
        if isinstance(silence.error, AccountError) and not is_heard and not silence.route.needs_api_key:
            raise silence.error


async def tell_silences(context: Context, silences: Iterable[Silence]) -> None:
    """Say which lists keep lines waiting, and what to do."""
    for silence in silences:
        path = silence.route.list_path
        text = f"{path} does not tell whether it has tasks of lines that are gone or were edited ({silence.error})"
        held = "no line of which nothing was found is submitted now, for it might be paid twice"
        remedy = "run the same command again later"
        if line := await _line_to_remove(context, silence.route):
            note = context.output_dir / context.batch.name / LISTS
            never = "if this batch never had a task there, also none of lines that are gone"
            remedy += f", or, {never}, take the line {line} out of {note}"
        new = "a line that was never part of this batch can run at once from a manifest of its own"
        context.notice(f"{text}; {held}; {remedy}; {new}", urgent=True)


async def _line_to_remove(context: Context, route: Route) -> str | None:
    """What alone makes a run search this list; None where an item does as well."""
    kinds = await context.store.kinds(context.batch)
    if context.lists is None or any(list_of(*each) == route.list_path for each in kinds):
        return None
    noted = (each for each in await context.lists.noted() if list_of(*each) == route.list_path)
    return next(map(json.dumps, noted), None)


def tell_unsettled(context: Context, unsettled: Mapping[str, str]) -> None:
    """Once for all that got the same answer; a thousand lines would hide what else is said."""
    for why in dict.fromkeys(unsettled.values()):
        names = [item_id for item_id, each in unsettled.items() if each == why]
        text = f"the account does not tell whether it has a task of an earlier run ({why})"
        what_next = "not submitted now, for it might be paid twice; run the same command again later"
        context.notice(f"{some_of(names)}: {text}; {what_next}", urgent=True)
