"""The API's codes, the HTTP status each travels with, and the refusals the simulated service speaks.

Source: the vendor's error table (September 2026) and server texts that integrators recorded in 2026. The
texts marked "own words" are recorded nowhere; clients must not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """Body codes; 0 is success."""

    OK = 0
    AUTH_EMPTY = 1001
    AUTH_INVALID = 1002
    AUTH_EARLY = 1003
    AUTH_EXPIRED = 1004
    PACK_EMPTY = 1102
    BAD_REQUEST = 1200
    BAD_VALUE = 1201
    WRONG_METHOD = 1202
    NO_RESOURCE = 1203
    POLICY = 1301
    RATE = 1302
    SLOTS = 1303
    INTERNAL = 5000


HTTP_STATUS = {
    Code.OK: 200,
    Code.AUTH_EMPTY: 401,
    Code.AUTH_INVALID: 401,
    Code.AUTH_EARLY: 401,
    Code.AUTH_EXPIRED: 401,
    Code.PACK_EMPTY: 429,
    Code.BAD_REQUEST: 400,
    Code.BAD_VALUE: 400,
    Code.WRONG_METHOD: 404,
    Code.NO_RESOURCE: 404,
    Code.POLICY: 400,
    Code.RATE: 429,
    Code.SLOTS: 429,
    Code.INTERNAL: 500,
}

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Denied:
    """A request that is refused; nothing was made."""

    code: Code
    message: str

    @property
    def http_status(self) -> int:
        """The status line's number."""
        return HTTP_STATUS[self.code]

    @property
    def is_of_a_task(self) -> bool:
        """Whether it names the one task that was asked for."""
        return self.message.startswith(_NOT_FOUND)


_NOT_FOUND = "Task not found by id/external id: "
NO_SLOT = Denied(Code.SLOTS, "parallel task over resource pack limit")
NO_CREDITS = Denied(Code.PACK_EMPTY, "Account balance not enough")
TOO_FAST = Denied(Code.RATE, "Request rate over limit")  # own words
AGAINST_POLICY = Denied(Code.POLICY, "The input violates the content safety policy")  # own words
BAD_BASE64 = Denied(Code.BAD_VALUE, "File is not in a valid base64 format")
MODEL_UNSUPPORTED = Denied(Code.BAD_VALUE, "model is not supported")
CAMERA_UNSUPPORTED = Denied(
    Code.BAD_VALUE, "camera_control is only supported in std mode with 5s duration and kling-v1"
)
ONLY_FIVE_OR_TEN = Denied(Code.BAD_VALUE, "Duration only supports 5 or 10 seconds when no refer_image is provided")
TOO_MANY_IDS = Denied(Code.BAD_VALUE, "task_ids and external_task_ids cannot exceed 20 in total")
LANGUAGE_UNKNOWN = Denied(Code.BAD_VALUE, "Voice language not found")
VOICE_UNKNOWN = Denied(Code.BAD_VALUE, "Voice id not found")
MISSING_PARAMETER = Denied(Code.BAD_REQUEST, "Missing Request Parameter")
UNREADABLE = Denied(Code.BAD_REQUEST, "Request body is not a JSON object")  # own words
BROKEN = Denied(Code.INTERNAL, "Internal error")  # own words


def invalid(field: str, value: Any) -> Denied:
    """A field holds a value it cannot have."""
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return Denied(Code.BAD_VALUE, f"{field} value '{shown[:_SHOWN_CHARACTERS]}' is invalid")


def empty(field: str) -> Denied:
    """A field that this request needs is missing (after the recorded ``contents cannot be empty``)."""
    return Denied(Code.BAD_VALUE, f"{field} cannot be empty")


def not_found(task_id: str) -> Denied:
    """No visible task of this product has the id, be it ours or the caller's."""
    return Denied(Code.BAD_VALUE, f"{_NOT_FOUND}{task_id}")


def unknown_source(what: str, source_id: str) -> Denied:
    """An id that no file, element or session of this account has, or has no longer.

    ``From video`` is recorded, also for the id of a task; the other words follow its pattern.
    """
    return Denied(Code.BAD_VALUE, f"{what} not found by id: {source_id[:_SHOWN_CHARACTERS]}")


def already_exists(external_task_id: str) -> Denied:
    """The caller's id was used before."""
    return Denied(Code.BAD_VALUE, f"External_task_id {external_task_id} already exists")


def unknown_model(name: str) -> Denied:
    """A model that no product knows."""
    return Denied(Code.NO_RESOURCE, f"{name[:_SHOWN_CHARACTERS]} is not supported for this API")
