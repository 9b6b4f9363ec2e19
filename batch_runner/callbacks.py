"""Callbacks of a run: where they arrive, what they are signed with, and the hints they become."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from batch_runner.clock import Clock
from batch_runner.errors import AccountError, UsageError
from batch_runner.events import Notice, Observer
from batch_runner.kling import WebhookSecret
from batch_runner.runner import Hints
from batch_runner.settings import Settings, load_webhook_secret
from batch_runner.wording import by_count, plural

if TYPE_CHECKING:
    from batch_runner.kling.receiver import Receiver

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a run that wants to be called needs to know.

    Attributes:
        url: where the service is told to call.
        secret_text: what it signs its calls with, as the console shows it.
        host: the address of this machine at which the calls arrive.
        port: likewise; 0 is any free one.
    """

    url: str
    secret_text: str
    host: str
    port: int

    def __repr__(self) -> str:
        return f"Callbacks({self.url!r})"


def callbacks_of(settings: Settings, environ: Mapping[str, str]) -> Callbacks | None:
    """What the settings ask for, None where no calls are wanted. The embedded sandbox signs with a secret of its own.

    Raises:
        UsageError: the service could not reach the address.
        AccountError: there is no secret, or what cannot be one.
    """
    if settings.callback_url is None:
        return None
    url = URL(settings.callback_url)
    is_remote = not settings.sandbox and settings.base_url.startswith("https:")
    if is_remote and url.scheme != "https":
        raise UsageError(
            "--callback-url: the service cannot reach this machine by that address; give a public https://"
        )
    text = load_webhook_secret(environ, settings.keys_path)
    if text is None and settings.sandbox:
        text = f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    if text is None:
        raise AccountError(
            "--callback-url needs the secret that calls are signed with: copy it from the console's account page"
            " (whsec_...) and set KLING_WEBHOOK_SECRET, or write webhook_secret to the keys file"
        )
    WebhookSecret.from_text(text)
    _receiver()  # loaded now, when nothing is held yet
    host, port = settings.callback_listen or ("127.0.0.1", url.explicit_port or 0)
    return Callbacks(settings.callback_url, text, host, port)


def _receiver() -> type[Receiver]:
    from batch_runner.kling.receiver import Receiver  # noqa: PLC0415 - an HTTP server, for runs that are called alone

    return Receiver


@asynccontextmanager
async def open_callbacks(callbacks: Callbacks | None, clock: Clock, observer: Observer) -> AsyncIterator[Hints | None]:
    """Listen for the length of a block; yields where the hints arrive, None where no calls are wanted.

    Raises:
        UsageError: nobody can listen there.
    """
    if callbacks is None:
        yield None
        return
    hints, secret = Hints(), WebhookSecret.from_text(callbacks.secret_text)
    path = URL(callbacks.url).raw_path
    async with _receiver()(secret, clock, hints.tell, host=callbacks.host, port=callbacks.port, path=path) as receiver:
        observer(Notice(f"listening at {receiver.address} for the service's calls to {callbacks.url}"))
        yield hints
        if receiver.refused:
            calls = f"{plural(receiver.refused, 'call')} {by_count(receiver.refused, 'was', 'were')}"
            observer(Notice(f"{calls} not signed with the webhook secret and had no effect"))
