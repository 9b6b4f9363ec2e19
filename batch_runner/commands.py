"""The commands, each loaded when it is given: nobody waits for what another command needs.

Loading stands here, before a command does anything and while signals wait: an import that a signal or a full disk
breaks off must come neither between paying and recording nor where nobody would hear of it.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from batch_runner.answer import Answer, Ask
from batch_runner.errors import ExitCode, UsageError
from batch_runner.interruption import Interruption
from batch_runner.records import SummaryRecord
from batch_runner.settings import Settings

T = TypeVar("T")
Question = Callable[[Settings], Answer]


@contextmanager
def _loading() -> Iterator[None]:
    """A process that began without looking for garbage looks for it from here on, but not among what was loaded."""
    yield
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@_loading()
def run() -> Callable[[Path, Settings, Interruption], SummaryRecord]:
    """``run``, with all that a run needs until its report is written."""
    from batch_runner import running

    return running.run


@_loading()
def sandbox() -> Callable[[argparse.Namespace, Callable[[str], None], Interruption], ExitCode]:
    """``sandbox``."""
    from batch_runner import serving

    return serving.serve


@_loading()
def expansion() -> Callable[[Path, Settings], Iterator[str]]:
    """``plan --expand``."""
    from batch_runner import planning

    return planning.expanded


@_loading()
def question(namespace: argparse.Namespace, interruption: Interruption) -> Question:
    """Any command that submits nothing and has an answer.

    Raises:
        UsageError: its flags do not go together.
    """
    return _QUESTIONS[namespace.command](namespace, interruption)


def _asking(interruption: Interruption) -> Ask:
    """Runs what waits for an answer in a loop of its own, until a signal comes."""
    import asyncio

    from batch_runner.stopping import until_stopped

    def ask(work: Coroutine[Any, Any, T]) -> T:
        return interruption.patiently(lambda: asyncio.run(until_stopped(work, interruption)))

    return ask


def _doctor(_: argparse.Namespace, interruption: Interruption) -> Question:
    from batch_runner import doctor

    ask = _asking(interruption)
    return lambda settings: ask(doctor.examine(settings, os.environ))


def _ledger(namespace: argparse.Namespace, interruption: Interruption) -> Question:
    if namespace.csv and getattr(namespace, "json", False):
        raise UsageError("--csv and --json are two forms of one answer; choose one")
    if namespace.reconcile:
        return _reconciliation(namespace, interruption)
    from batch_runner import accounting

    return lambda settings: accounting.ledger(namespace.manifest, settings)


def _reconciliation(namespace: argparse.Namespace, interruption: Interruption) -> Question:
    if namespace.csv or namespace.manifest is not None:
        raise UsageError("--reconcile compares the whole output folder: leave out --csv and the manifest")
    from batch_runner import reconciling

    ask = _asking(interruption)
    return lambda settings: ask(reconciling.reconcile(settings, os.environ))


def _plan(namespace: argparse.Namespace, interruption: Interruption) -> Question:
    from batch_runner import planning

    ask = _asking(interruption)
    questions = planning.Questions(tuple(namespace.what_if), namespace.items, namespace.account)
    return lambda settings: planning.plan(namespace.manifest, settings, questions, os.environ, ask)


def _prices(_namespace: argparse.Namespace, _interruption: Interruption) -> Question:
    from batch_runner import pricing

    return lambda _: pricing.prices()


def _report(namespace: argparse.Namespace, _: Interruption) -> Question:
    from batch_runner import reporting

    return lambda settings: reporting.report(namespace.manifest, settings)


def _status(namespace: argparse.Namespace, _: Interruption) -> Question:
    from batch_runner import looking

    return lambda settings: looking.status(namespace.manifest, settings)


def _verify(namespace: argparse.Namespace, interruption: Interruption) -> Question:
    from batch_runner import verifying

    if not namespace.repair:
        return lambda settings: verifying.verify(namespace.manifest, settings)
    ask = _asking(interruption)
    return lambda settings: verifying.repair(namespace.manifest, settings, os.environ, ask)


_QUESTIONS: dict[str, Callable[[argparse.Namespace, Interruption], Question]] = {
    "doctor": _doctor,
    "ledger": _ledger,
    "plan": _plan,
    "prices": _prices,
    "report": _report,
    "status": _status,
    "verify": _verify,
}
