"""From flags, environment and ``batch_runner.toml`` to ``Settings``, or to every problem at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_runner.errors import UsageError
from batch_runner.settings.keys import DEFAULT_KEYS_FILE, toml_place
from batch_runner.settings.options import ENV_PREFIX, OPTIONS, Option, Settings
from batch_runner.settings.values import nearest, shown
from batch_runner.wording import plural

SETTINGS_FILE = Path("batch_runner.toml")
"""In the folder that the program is started in."""
_SECRET_WORDS = ("access_key", "secret", "api_key", "apikey", "token", "password")


@dataclass(slots=True)
class _Sources:
    """What each source gives, and every problem met so far."""

    flags: Mapping[str, object]
    environ: Mapping[str, str]
    toml_path: Path | None
    table: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def given(self, option: Option) -> Iterator[tuple[str, object]]:
        """(where it stands, raw value) of an option, weakest source first."""
        if option.key in self.table:
            yield f"{self.toml_path}, {option.key}", self.table[option.key]
        foreign = self.environ.get(option.also_env or "", "")
        if foreign.strip() and option.env not in self.environ and self.flags.get(option.name) is None:
            yield f"{option.also_env}", foreign
        if option.env in self.environ:
            yield option.env, self.environ[option.env]
        if self.flags.get(option.name) is not None:
            yield option.flag, self.flags[option.name]

    def value(self, option: Option) -> Any:
        """The strongest source's value; a repeatable option keeps the parts of weaker ones that it does not name."""
        value = option.default
        for place, raw in self.given(option):
            try:
                parsed = option.parse(raw)
            except ValueError as exc:
                self.problems.append(f"{place}: {exc}")
            else:
                value = {**value, **parsed} if option.is_repeatable else parsed
        return value


def is_secret_name(key: str) -> bool:
    """Whether what stands under this name may be a key, whatever it is called exactly."""
    return any(word in key.lower().replace("-", "_") for word in _SECRET_WORDS)


def _holds_secret_name(key: str, value: object) -> bool:
    inner = value.items() if isinstance(value, dict) else ()
    listed = value if isinstance(value, list) else ()
    return (
        is_secret_name(key)
        or any(_holds_secret_name(k, v) for k, v in inner)
        or any(_holds_secret_name("", v) for v in listed)
    )


def _read_table(path: Path) -> dict[str, Any] | str:
    """A TOML file's top level (empty when there is no file), or what is wrong with the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError:
        return "is a link to nothing; budgets in it would not hold" if path.is_symlink() else {}
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        return f"is not valid TOML{toml_place(exc)}"
    except (ValueError, ArithmeticError):  # from int and Decimal, which the parser hands digits
        return "holds a number that is too large; correct it"
    except RecursionError:
        return "is nested too deeply; a setting is at most a list of tables"


def _take_table(sources: _Sources, path: Path) -> None:
    table = _read_table(path)
    if isinstance(table, str):
        sources.problems.append(f"{path} {table}")
        return
    known = [option.key for option in OPTIONS]
    for written, value in table.items():
        key = written.replace("-", "_")
        if _holds_secret_name(key, value):
            sources.problems.append(
                f"{path}, {shown(written)}: keys do not belong in this file, which is easily shared;"
                f" put them in KLING_ACCESS_KEY and KLING_SECRET_KEY or in {DEFAULT_KEYS_FILE} (mode 0600)"
            )
        elif key not in known:
            sources.problems.append(f"{path}, {shown(written)}: no such option ({nearest(key, known)})")
        elif key in sources.table:
            sources.problems.append(f"{path}, {key}: given twice, with a dash and with an underscore")
        else:
            sources.table[key] = value


def _check_names(sources: _Sources) -> None:
    """Misspelt names: a limit on spending that nobody reads must not pass in silence."""
    fields, variables = [o.name for o in OPTIONS], [o.env for o in OPTIONS]
    for name in sources.flags:
        if name not in fields:
            sources.problems.append(f"{shown(name)}: no such option ({nearest(name, fields)})")
    for name in sorted(sources.environ):
        if name.startswith(ENV_PREFIX) and name not in variables:
            close = difflib.get_close_matches(name, variables, n=1, cutoff=0.85)
            sources.problems += [f"{name}: no such variable (did you mean {right}?)" for right in close]


def is_given(name: str, argv: Sequence[str], environ: Mapping[str, str], toml_path: Path) -> bool:
    """Whether a switch is on, as far as can be told where others are wrong: for how an error is told."""
    [option] = [option for option in OPTIONS if option.name == name]
    if option.flag in argv:
        return True
    table = _read_table(toml_path)
    of_table = table.get(option.key, False) if isinstance(table, dict) else False
    try:
        return bool(option.parse(environ.get(option.env, of_table)))
    except ValueError:
        return False


def resolve(flags: Mapping[str, object], environ: Mapping[str, str], toml_path: Path | None) -> Settings:
    """Settings from flags, else environment, else file, else defaults; a budget is settled part by part.

    Args:
        flags: values by ``Option.name``, as text or as Python values; None means not given.
        environ: the environment.
        toml_path: the settings file, which need not exist, or None for none.

    Raises:
        UsageError: all wrong values and names together, each with where it stands.
    """
    sources = _Sources(flags, environ, toml_path)
    if toml_path is not None:
        _take_table(sources, toml_path)
    _check_names(sources)
    values = {option.name: sources.value(option) for option in OPTIONS}
    if sources.problems:
        head = f"{plural(len(sources.problems), 'problem')} in the settings, nothing was sent"
        raise UsageError("\n".join([head, *(f"  {problem}" for problem in sources.problems)]))
    return Settings(**values)
