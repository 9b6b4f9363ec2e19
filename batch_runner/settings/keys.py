"""The account's keys, from the environment or a private file, and never from an argument."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batch_runner.errors import AccountError

DEFAULT_KEYS_FILE = "~/.config/batch_runner/keys.toml"

NO_KEYS_TEXT = f"""\
No keys for the Kling API were found, so nothing was sent. There are two ways on:
  with an account   set KLING_ACCESS_KEY and KLING_SECRET_KEY (or KLING_API_KEY) in the environment,
                    or write access_key and secret_key (or api_key) to {DEFAULT_KEYS_FILE}, mode 0600
  without one       add --sandbox: the same run against a simulated API that costs nothing"""


@dataclass(frozen=True, slots=True)
class Keys:
    """The account's keys: a pair for signed tokens, an API key, or both. Its repr shows none of them."""

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


_KEY_NAMES = ("access_key", "secret_key", "api_key")
_WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of one
_KEYS_FILE_BYTES = 65_536


def _checked(values: Mapping[str, object], name: str, place: str) -> str:
    """One secret of a source, empty if it is not there. Its value is never repeated."""
    value = values.get(name, "")
    text = value.strip() if isinstance(value, str) else " "
    if text and not (text.isascii() and text.isprintable() and " " not in text and isinstance(value, str)):
        raise AccountError(f"{name} in {place} is not a key: it must be text without spaces; copy it anew")
    return text


def _checked_keys(values: Mapping[str, object], names: Mapping[str, str], place: str) -> Keys | None:
    """Keys from one source; ``names`` are the words that source uses for them."""
    found = {name: text for name in _KEY_NAMES if (text := _checked(values, names[name], place))}
    for name, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if name in found and other not in found:
            raise AccountError(f"{names[other]} is missing in {place}: {names[name]} is only half of the pair")
    return Keys(**found) if found else None


def _without_waiting(path: str, flags: int) -> int:
    """Opens without waiting for the other end, should somebody have put a named pipe there."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_private(path: Path) -> bytes:
    """The content of a regular file that nobody but its owner can read.

    Raises:
        AccountError: others can read it, or it is no file of keys.
        OSError: it cannot be opened.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise AccountError(f"{path} is not a regular file; name one that holds the keys")
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AccountError(
                f"{path} can be read by others, so it is not used; run: chmod 600 {shlex.quote(str(path))}"
            )
        return file.read(_KEYS_FILE_BYTES)


def _table(path: Path, *, required: bool) -> Mapping[str, object]:
    """What the keys file holds, nothing where there may be none."""
    try:
        table = tomllib.loads(_read_private(path).decode("utf-8"))
    except FileNotFoundError:
        if required:
            raise AccountError(f"there is no keys file {path}; check --keys-file") from None
        return {}
    except OSError as exc:
        raise AccountError(f"the keys file {path} cannot be read ({exc.strerror})") from None
    except (ValueError, RecursionError) as exc:
        raise AccountError(f"the keys file {path} is not valid TOML{toml_place(exc)}") from None
    if set(table) - {*_KEY_NAMES, _WEBHOOK_SECRET}:
        raise AccountError(f"{path} may hold access_key and secret_key, api_key, webhook_secret, and nothing else")
    return table


def _file(environ: Mapping[str, str], keys_path: Path | None) -> tuple[Path, Mapping[str, object]]:
    """The file that holds secrets, named or in the usual place, and its content."""
    if keys_path is not None:
        return keys_path, _table(keys_path, required=True)
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - unlike Path.home, it never raises
    path = Path(DEFAULT_KEYS_FILE.replace("~", home, 1))
    return path, _table(path, required=False)


def load_keys(environ: Mapping[str, str], keys_path: Path | None) -> Keys | None:
    """The account's keys from the environment, else from a file; the two are never mixed.

    A file that was named is not passed over for other keys in the environment: another account would pay.

    Args:
        environ: may hold ``KLING_ACCESS_KEY`` with ``KLING_SECRET_KEY``, or ``KLING_API_KEY``.
        keys_path: a file that must exist, or None for the usual place, which may be absent.

    Returns:
        The keys, or None when there are none.

    Raises:
        AccountError: half a pair, a file that others can read, a value that cannot be a key, or other keys in the
            environment than in the file that was named.
    """
    names = {name: f"KLING_{name.upper()}" for name in _KEY_NAMES}
    keys = _checked_keys(environ, names, "the environment")
    if keys is not None and keys_path is None:
        return keys
    path, table = _file(environ, keys_path)
    in_file = _checked_keys(table, {name: name for name in _KEY_NAMES}, str(path))
    if keys is not None and in_file is not None and not _are_of_one_account(keys, in_file):
        given = " and ".join(names[name] for name in _KEY_NAMES if getattr(keys, name))
        raise AccountError(
            f"the keys file {path} and the environment hold different keys, and which account pays must be clear;"
            f" unset {given}, or name no keys file"
        )
    return keys or in_file


def _are_of_one_account(keys: Keys, others: Keys) -> bool:
    """As far as they can be compared: some are alike, and none differ."""
    pairs = [(getattr(keys, name), getattr(others, name)) for name in _KEY_NAMES]
    alike = [one == other for one, other in pairs if one and other]
    return bool(alike) and all(alike)


def load_webhook_secret(environ: Mapping[str, str], keys_path: Path | None) -> str | None:
    """What the service signs its calls with, from the environment, else from the keys' file; None if there is none.

    Args:
        environ: may hold ``KLING_WEBHOOK_SECRET``.
        keys_path: as for ``load_keys``; ``webhook_secret`` in it.

    Raises:
        AccountError: a file that others can read, or a value that cannot be a secret.
    """
    secret = _checked(environ, f"KLING_{_WEBHOOK_SECRET.upper()}", "the environment")
    if not secret:
        path, table = _file(environ, keys_path)
        secret = _checked(table, _WEBHOOK_SECRET, str(path))
    return secret or None


def toml_place(exc: Exception) -> str:
    """Where a TOML file is wrong, without the parser's text, which may quote a secret."""
    place = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(exc))
    return f" at {place[1]}" if place else ""
