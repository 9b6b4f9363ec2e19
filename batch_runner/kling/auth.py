"""The account's keys and the tokens minted from them. Neither ever shows in a repr or an error."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace

import jwt

from batch_runner.clock import Clock
from batch_runner.errors import AccountError
from batch_runner.kling.http_date import date_s

LIFETIME_S = 1800.0
"""Life of a token; the vendor's example (kling-api 2.1). No maximum is documented."""
RENEW_AT_S = 0.8 * LIFETIME_S
BACKDATED_S = 5.0
"""``nbf`` lies this far back: all the skew the vendor's documents allow for."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key with its secret key, an API key, or both; made by one of the constructors.

    An API key, where there is one, is used for everything: it serves every product, a key pair only those of the
    first generation (kling-api 2.2).
    """

    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)

    @classmethod
    def from_key_pair(cls, access_key: str, secret_key: str) -> Credentials:
        """Keys that sign tokens. Raises AccountError if one cannot be a key."""
        return cls(access_key=_checked("access key", access_key), secret_key=_checked("secret key", secret_key))

    @classmethod
    def from_api_key(cls, api_key: str) -> Credentials:
        """A key that is sent as it is. Raises AccountError if it cannot be a key."""
        return cls(api_key=_checked("API key", api_key))

    @classmethod
    def from_keys(cls, access_key: str | None, secret_key: str | None, api_key: str | None) -> Credentials:
        """Whatever there is of them. Raises AccountError if there is too little, or what cannot be a key."""
        if not api_key:
            return cls.from_key_pair(access_key or "", secret_key or "")
        if not (access_key and secret_key):
            return cls.from_api_key(api_key)
        return replace(cls.from_key_pair(access_key, secret_key), api_key=_checked("API key", api_key))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not be shown to anybody, for whoever has to blot them out."""
        return tuple(filter(None, (self.access_key, self.secret_key, self.api_key)))


def _checked(name: str, key: str) -> str:
    """The key without the line ending it was pasted with."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or not key or " " in key:
        # Such a key would otherwise end up inside an HTTP library's complaint about an invalid header.
        raise AccountError(f"the {name} is empty or contains characters no key has; copy it again from the console")
    return key


class TokenSource:
    """Hands out the text of the ``Authorization`` header, with a token that is fresh enough.

    Args:
        credentials: the keys.
        clock: wall time; a token's times are wall time on the server's clock as far as it is known.
    """

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._offset_s = 0.0
        self._token = ""
        self._minted_at_s = -math.inf

    @property
    def has_api_key(self) -> bool:
        """Whether the routes that refuse a key pair's tokens can be asked."""
        return bool(self._credentials.api_key)

    def authorization(self) -> str:
        """``Bearer`` and the API key or a token with at least a fifth of its life left."""
        if self._credentials.api_key:
            return f"Bearer {self._credentials.api_key}"
        age_s = self._clock.wall_s() - self._minted_at_s
        # A negative age: somebody set the machine's clock back, and the token is not valid yet.
        if not 0 <= age_s < RENEW_AT_S:
            self._mint()
        return f"Bearer {self._token}"

    def renew(self, server_date: str | None) -> bool:
        """Mint another token, by the clock of an answer's ``Date`` header if it is readable.

        Returns whether there is a new one; an API key cannot be renewed.
        """
        if self._credentials.api_key:
            return False
        server_s = date_s(server_date)
        if server_s is not None:
            self._offset_s = server_s - self._clock.wall_s()
        self._mint()
        return True

    def hide(self, text: str) -> str:
        """``text`` with every occurrence of a key or of the current token blotted out."""
        for secret in (*self._credentials.secrets, self._token):
            if secret:
                text = text.replace(secret, "[removed]")
        return text

    def _mint(self) -> None:
        self._minted_at_s = self._clock.wall_s()
        now_s = self._minted_at_s + self._offset_s
        claims = {
            "iss": self._credentials.access_key,
            "exp": int(now_s + LIFETIME_S),
            "nbf": int(now_s - BACKDATED_S),
        }
        with warnings.catch_warnings():
            # PyJWT warns of keys under 32 bytes; their length is the vendor's choice, not the user's.
            warnings.simplefilter("ignore", UserWarning)
            self._token = jwt.encode(claims, self._credentials.secret_key, algorithm="HS256")
