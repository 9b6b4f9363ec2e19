"""The service's calls when a task changes: whether they are genuine, and which task they are about. Pure.

A call is signed as the Standard Webhooks say (kling-api 6): a keyed SHA-256 over its id, its time and its body. How
often calls are repeated, and in which order, is not documented; so they are hints, and polling stays the truth.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_runner.errors import AccountError
from batch_runner.kling import wire_v1, wire_v2
from batch_runner.kling.envelope import parse_object
from batch_runner.model import Task

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SKEW_S = 300.0
"""A call that says it is older or younger than this is refused, so that an old one cannot be played back."""

_PREFIX = "whsec_"
_VERSION = "v1,"
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """The secret that the console shows for the account's callbacks; made by ``from_text``."""

    _key: bytes = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> WebhookSecret:
        """The secret as the console shows it (``whsec_...``). Raises AccountError if it cannot be one."""
        encoded = text.strip().removeprefix(_PREFIX)
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not key:
            # Raised out here, so that the decoder's complaint does not stay attached.
            raise AccountError("the webhook secret is not one (whsec_ and base64); copy it again from the console")
        return cls(key)

    def signature(self, call_id: str, timestamp: str, body: bytes) -> str:
        """The signature that a call with this id, time (seconds since 1970, as text) and body has to carry."""
        signed = b".".join((_bytes(call_id), _bytes(timestamp), body))
        return _VERSION + base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()

    def is_genuine(self, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
        """Whether a call comes from whoever knows the secret, and is recent.

        Args:
            headers: the call's, found by their names in lower case.
            body: the bytes as they came.
            now_s: wall seconds since 1970.
        """
        call_id, timestamp = headers.get(ID_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
        if not call_id or not _SECONDS.fullmatch(timestamp) or abs(now_s - int(timestamp)) > SKEW_S:
            return False
        wanted = _bytes(self.signature(call_id, timestamp, body))
        # While a secret is replaced a call is signed with both. All are compared, whichever fits.
        given = [_bytes(one) for one in headers.get(SIGNATURE_HEADER, "").split(" ")]
        return any([hmac.compare_digest(one, wanted) for one in given])  # noqa: C419 - a generator would stop early


def parse_call(body: bytes) -> Task:
    """The task that a call is about, whichever generation's form it has (an object without an envelope).

    What it says of the task's files is read as that of a video; it is a hint, and no more than that.

    Raises:
        MalformedAnswer: it is about no task.
    """
    payload = parse_object(body)
    return wire_v1.parse_task(payload) if "task_id" in payload else wire_v2.parse_task(payload)


def _bytes(text: str) -> bytes:
    """Headers may hold any byte; those that are no UTF-8 arrive as surrogates."""
    return text.encode("utf-8", "surrogateescape")
