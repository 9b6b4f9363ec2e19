"""Kling's HTTP API: keys, requests, the wire's forms, and what each refusal asks of us."""

from batch_runner.kling.address import api_origin
from batch_runner.kling.auth import Credentials, TokenSource
from batch_runner.kling.client import KlingClient
from batch_runner.kling.deductions import Deduction
from batch_runner.kling.exchange import Gate, Trouble
from batch_runner.kling.failures import Failure, failure_of
from batch_runner.kling.packs import AccountPack, account_concurrency
from batch_runner.kling.refusals import NEEDS_API_KEY, for_person
from batch_runner.kling.session import open_session
from batch_runner.kling.transport import NotConnectedError, explained
from batch_runner.kling.webhook import WebhookSecret
from batch_runner.kling.wire_v2 import MOST_IDS

__all__ = [
    "MOST_IDS",
    "NEEDS_API_KEY",
    "AccountPack",
    "Credentials",
    "Deduction",
    "Failure",
    "Gate",
    "KlingClient",
    "NotConnectedError",
    "TokenSource",
    "Trouble",
    "WebhookSecret",
    "account_concurrency",
    "api_origin",
    "explained",
    "failure_of",
    "for_person",
    "open_session",
]
