from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.budgets import RollingBudget
from batch_runner.errors import AccountError, UsageError
from batch_runner.settings import (
    DEFAULT_BASE_URL,
    NO_KEYS_TEXT,
    OPTION_NAMES,
    OPTIONS,
    Option,
    Settings,
    add_flags,
    load_keys,
    load_webhook_secret,
    resolve,
)


def flags_of(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    given = vars(parser.parse_args(argv))
    assert set(given) <= OPTION_NAMES
    return given


def settled(*argv: str, environ: Mapping[str, str] | None = None, toml: Path | None = None) -> Settings:
    return resolve(flags_of(*argv), environ or {}, toml)


def problems(*argv: str, environ: Mapping[str, str] | None = None, toml: Path | None = None) -> list[str]:
    with pytest.raises(UsageError) as caught:
        settled(*argv, environ=environ, toml=toml)
    return str(caught.value).splitlines()[1:]


def toml_file(folder: Path, text: str) -> Path:
    path = folder / "batch_runner.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_contract() -> None:
    settings = settled()
    assert settings.output_dir == Path("outputs")
    assert settings.base_url == DEFAULT_BASE_URL
    assert settings.budget == settings.rolling_budget == {}
    assert settings.price_buffer_pct is None
    assert (settings.name, settings.max_concurrent, settings.rpm, settings.tier, settings.max_runtime_s) == (None,) * 5
    assert (settings.sandbox, settings.retry_failed, settings.json, settings.quiet) == (False,) * 4
    assert (settings.max_attempts, settings.task_deadline_s, settings.task_settle_s) == (1, 7200, 15)
    assert (settings.sandbox_speed, settings.sandbox_seed, settings.keys_path) == (20, 0, None)
    assert (settings.callback_url, settings.callback_listen) == (None, None)


def test_the_table_covers_every_field_of_settings_once() -> None:
    assert sorted(option.name for option in OPTIONS) == sorted(field.name for field in fields(Settings))
    assert len({option.flag for option in OPTIONS}) == len({option.env for option in OPTIONS}) == len(OPTIONS)


def test_only_given_flags_are_in_the_namespace() -> None:
    assert flags_of() == {}
    assert flags_of("--rpm", "7", "--json") == {"rpm": "7", "json": True}


def test_help_names_every_flag_with_its_default() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = parser.format_help()
    assert all(option.flag in text for option in OPTIONS)
    assert "default: 7200" in text


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_can_stand_in_the_environment_and_the_file(tmp_path: Path, option: Option) -> None:
    texts = {
        "rolling_budget": "1/1d",
        "output_dir": "o",
        "keys_path": "k",
        "name": "n",
        "format": "csv",
        "tier": "pro",
        "base_url": "https://h.example",
        "callback_url": "https://h.example/calls",
        "callback_listen": "127.0.0.1:8080",
    }
    text = texts.get(option.name, "1")
    expected = option.parse(text)
    by_env = getattr(settled(environ={option.env: text}), option.name)
    by_file = getattr(settled(toml=toml_file(tmp_path, f'{option.key} = "{text}"')), option.name)
    assert by_env == by_file == expected
    assert expected != option.default or option.name == "max_attempts"


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    toml = toml_file(tmp_path, "rpm = 1\nmax-concurrent = 1\nsandbox = true\n")
    environ = {"BATCH_RUNNER_RPM": "2", "BATCH_RUNNER_MAX_CONCURRENT": "2"}
    settings = settled("--rpm", "3", "--no-sandbox", environ=environ, toml=toml)
    assert (settings.rpm, settings.max_concurrent, settings.sandbox) == (3, 2, False)


def test_a_missing_file_is_no_problem(tmp_path: Path) -> None:
    assert settled(toml=tmp_path / "batch_runner.toml") == settled()


def test_a_settings_file_that_is_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    """Its budgets were forgotten in silence: the share they stand on may only not be mounted."""
    toml = tmp_path / "batch_runner.toml"
    toml.symlink_to(tmp_path / "share" / "budgets.toml")
    [problem] = problems(toml=toml)
    assert "a link to nothing" in problem


def test_budget_takes_packs_from_repeated_flags() -> None:
    assert settled("--budget", "100.25", "--budget", "image=50").budget == {
        "video": Decimal("100.25"),
        "image": Decimal(50),
    }


def test_budget_in_the_environment_is_comma_separated() -> None:
    settings = settled(environ={"BATCH_RUNNER_BUDGET": "100, image=50,try_on=0"})
    assert settings.budget == {"video": Decimal(100), "image": Decimal(50), "try_on": Decimal(0)}


@pytest.mark.parametrize(
    "spelling",
    ["budget = 0.1", 'budget = "0.1"', "[budget]\nvideo = 0.1", '[budget]\nvideo = "0.1"', 'budget = ["0.1"]'],
)
def test_budget_in_the_file_is_exact(tmp_path: Path, spelling: str) -> None:
    assert settled(toml=toml_file(tmp_path, spelling)).budget == {"video": Decimal("0.1")}


def test_a_limit_of_another_pack_survives_a_stronger_source(tmp_path: Path) -> None:
    toml = toml_file(tmp_path, "budget = {video = 10, image = 5}")
    assert settled("--budget", "20", toml=toml).budget == {"video": Decimal(20), "image": Decimal(5)}


@pytest.mark.parametrize(
    "wrong", ["", "-1", "nan", "inf", "1e3", "1_000", "1,000", "٣", "image=", "=5", "image=5,image=6", "12 34", "0x10"]
)
def test_wrong_budgets_are_refused(wrong: str) -> None:
    [problem] = problems(environ={"BATCH_RUNNER_BUDGET": wrong})
    assert problem.strip().startswith("BATCH_RUNNER_BUDGET: ")


@pytest.mark.parametrize("wrong", ["nan", "inf", "-0.5", "true", "1e99", "1e-20", "[[1]]", "2026-01-01"])
def test_wrong_budgets_in_the_file_are_refused(tmp_path: Path, wrong: str) -> None:
    if wrong == "[[1]]":
        assert settled(toml=toml_file(tmp_path, f"budget = {wrong}")).budget == {"video": Decimal(1)}
        return
    [problem] = problems(toml=toml_file(tmp_path, f"budget = {wrong}"))
    assert "batch_runner.toml, budget: " in problem


DAY = RollingBudget("video", 86_400, Decimal(50))
MONTH = RollingBudget("image", 2_592_000, Decimal("20.5"))


@pytest.mark.parametrize(
    "spelling",
    [
        'rolling_budget = "50/1d,image=20.5/30d"',
        'rolling-budget = ["50/24h", "image = 20.5 / 30d"]',
        '[[rolling_budget]]\nwindow = "1d"\ncredits=50\n[[rolling_budget]]\npack="image"\nwindow="720h"\ncredits=20.5',
    ],
)
def test_rolling_budgets_in_the_file(tmp_path: Path, spelling: str) -> None:
    settings = settled(toml=toml_file(tmp_path, spelling))
    assert settings.rolling_budget == {"video/1d": DAY, "image/30d": MONTH}


def test_a_rolling_budget_gives_way_to_one_of_its_pack_and_window_only(tmp_path: Path) -> None:
    toml = toml_file(tmp_path, 'rolling_budget = "10/24h,50/90m"')
    environ = {"BATCH_RUNNER_ROLLING_BUDGET": "image=20.5/30d"}
    given = settled("--rolling-budget", "50/1d", environ=environ, toml=toml).rolling_budget
    assert given == {"video/1d": DAY, "image/30d": MONTH, "video/90m": RollingBudget("video", 5400, Decimal(50))}
    assert list(settled("--rolling-budget", "1/1h", "--rolling-budget", "2/2h").rolling_budget) == [
        "video/1h",
        "video/2h",
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("50", "write credits and window, such as 50/1d"),
        ("50/1x", "'1x' is not a window, such as 90m"),
        ("50/0d", "'0d' is not a window"),
        ("50/1.5d", "is not a window"),
        ("50/99999d", "ten years at most"),
        ("-1/1d", "is not a plain number of credits"),
        ("imgae=1/1d", "there is no pack 'imgae' (did you mean image?)"),
        ("1/24h,2/1d", "the rolling budget video/1d is given twice"),
        ({"window": "1d", "credit": 5}, "a rolling budget has no 'credit' (did you mean credits?)"),
        ({"window": "1d"}, "a rolling budget needs credits"),
        ({"window": 86400, "credits": 5}, "86400 is not a window"),
        (50, "50 is no rolling budget"),
    ],
)
def test_wrong_rolling_budgets_are_refused(wrong: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"rolling_budget": wrong}, {}, None)
    assert words in str(caught.value)


def test_a_price_buffer_is_percent() -> None:
    assert settled("--price-buffer", "20").price_buffer_pct == 20
    assert resolve({"price_buffer_pct": 12.5}, {}, None).price_buffer_pct == Decimal("12.5")
    for wrong in ("-1", "101", "20%", "much"):
        assert "is not a number of percent from 0 to 100" in problems("--price-buffer", wrong)[0]


def test_a_float_budget_is_refused_with_the_way_on() -> None:
    with pytest.raises(UsageError, match="write it as text or Decimal"):
        resolve({"budget": 0.1}, {}, None)


def test_python_values_are_taken_as_they_are() -> None:
    settings = resolve({"budget": {"video": Decimal("2.50")}, "rpm": 0, "max_runtime_s": 1.5, "name": None}, {}, None)
    assert (settings.budget, settings.rpm, settings.max_runtime_s) == ({"video": Decimal("2.5")}, 0, 1.5)


def test_an_unknown_pack_names_the_nearest() -> None:
    [problem] = problems("--budget", "imgae=5")
    assert problem == "  --budget: there is no pack 'imgae' (did you mean image?)"


@given(st.decimals(min_value=0, max_value=10**9, places=4))
def test_any_plain_decimal_is_kept_to_the_last_digit(amount: Decimal) -> None:
    assert resolve({"budget": [f"image={amount:f}"]}, {}, None).budget == {"image": amount}


@given(st.text(max_size=30))
def test_any_text_is_a_budget_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        budget = resolve({"budget": [text]}, {}, None).budget
        assert budget
        assert all(credits_ >= 0 and credits_.is_finite() for credits_ in budget.values())


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    toml = toml_file(tmp_path, "max_concurent = 3\nrpm = 'fast'\n")
    told = problems("--max-runtime", "0", environ={"BATCH_RUNNER_SANDBOX": "perhaps"}, toml=toml)
    text = "\n".join(told)
    assert len(told) == 4
    assert f"{toml}, 'max_concurent': no such option (did you mean max_concurrent?)" in text
    assert f"{toml}, rpm: 'fast' is not a whole number, 0 or more" in text
    assert "--max-runtime: '0' is not a number of seconds, above 0" in text
    assert "BATCH_RUNNER_SANDBOX: 'perhaps' is neither yes nor no" in text


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-concurrent", "0"),
        ("--max-concurrent", "2.5"),
        ("--rpm", "-1"),
        ("--rpm", "9" * 30),
        ("--max-attempts", "0"),
        ("--task-settle", "inf"),
        ("--sandbox-speed", "0"),
        ("--sandbox-seed", "x"),
        ("--name", "../up"),
        ("--name", ".hidden"),
        ("--name", "a\nb"),
        ("--name", "state.db-wal"),
        ("--name", "x" * 121),
        ("--name", "  "),
        ("--output-dir", ""),
        ("--output-dir", "a\0b"),
        ("--tier", ""),
    ],
)
def test_wrong_values_are_refused(flag: str, value: str) -> None:
    [problem] = problems(f"{flag}={value}")
    assert problem.startswith(f"  {flag}: ")
    assert problem.isprintable()


def test_zero_settle_and_zero_rpm_are_allowed() -> None:
    settings = settled("--task-settle", "0", "--rpm", "0")
    assert (settings.task_settle_s, settings.rpm) == (0, 0)


@pytest.mark.parametrize("name", ["demo", "Ein Versuch", "été-2026", "a.b_c"])
def test_good_names_pass(name: str) -> None:
    assert settled("--name", name).name == name


def test_a_misspelt_variable_is_not_passed_over_in_silence() -> None:
    assert problems(environ={"BATCH_RUNNER_BUGDET": "10"}) == [
        "  BATCH_RUNNER_BUGDET: no such variable (did you mean BATCH_RUNNER_BUDGET?)"
    ]
    assert settled(environ={"BATCH_RUNNER_WORKSPACE_CACHE": "x"}) == settled()


def test_an_unknown_python_option_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean budget"):
        resolve({"bugdet": 3}, {}, None)


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("https://API.example.com/", "https://api.example.com"),
        ("https://h.example:8443/", "https://h.example:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9:1/", "http://127.9.9.9:1"),
        ("http://localhost:9/", "http://localhost:9"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_good_addresses(given_url: str, expected: str) -> None:
    assert settled("--base-url", given_url).base_url == expected


@pytest.mark.parametrize(
    "wrong",
    [
        "http://api.example.com",
        "http://127.0.0.1.evil.example",
        "http://0.0.0.0:80",
        "http://2130706433",
        "https://user:hunter2@h.example",
        "https://h.example/?key=hunter2",
        "https://h.example/#hunter2",
        "https://h.example:port",
        "https://h.example:99999",
        "https://",
        "https:///path",
        "https://h.example/v1",
        "ftp://h.example",
        "h.example",
        "https://h.exa\nmple",
        "https://h.example\\@evil.example",
        "https://[::1",
        "",
    ],
)
def test_wrong_addresses_are_refused_and_not_repeated(wrong: str) -> None:
    [problem] = problems("--base-url", wrong)
    assert problem.startswith("  --base-url: ")
    assert "hunter2" not in problem


def test_kling_base_url_stands_in_below_our_own_variable(tmp_path: Path) -> None:
    foreign = {"KLING_BASE_URL": "https://foreign.example"}
    own = {**foreign, "BATCH_RUNNER_BASE_URL": "https://own.example"}
    assert settled(environ=foreign).base_url == "https://foreign.example"
    assert settled(environ=own).base_url == "https://own.example"
    assert settled(environ={"KLING_BASE_URL": ""}).base_url == DEFAULT_BASE_URL
    assert resolve({"base_url": None}, foreign, None).base_url == "https://foreign.example", "None is not given"
    assert settled("--base-url", "https://flag.example", environ={"KLING_BASE_URL": "junk"}).base_url.endswith(
        "flag.example"
    )
    assert problems(environ={"KLING_BASE_URL": "junk"})[0].startswith("  KLING_BASE_URL: ")


@pytest.mark.parametrize(
    "text",
    ['access_key = "hunter2"', '[kling]\nsecret_key = "hunter2"', '[name]\napi-key = "hunter2"', 'token="hunter2"'],
)
def test_keys_in_the_settings_file_are_refused_with_the_right_way_on(tmp_path: Path, text: str) -> None:
    [problem] = problems(toml=toml_file(tmp_path, text))
    assert "KLING_ACCESS_KEY" in problem
    assert "0600" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("text", ["rpm = ", "= hunter2", "rpm = 1\nrpm = 2", "rpm = hunter2"])
def test_a_broken_file_is_a_usage_error_without_its_text(tmp_path: Path, text: str) -> None:
    [problem] = problems(toml=toml_file(tmp_path, text))
    assert "is not valid TOML" in problem
    assert "hunter2" not in problem


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in problems(toml=binary)[0]
    assert "cannot be read" in problems(toml=tmp_path)[0]


def test_dash_and_underscore_spellings_collide(tmp_path: Path) -> None:
    assert "given twice" in problems(toml=toml_file(tmp_path, "max-runtime = 1\nmax_runtime = 2"))[0]


PAIR = {"KLING_ACCESS_KEY": "AK-hunter2", "KLING_SECRET_KEY": "SK-hunter2"}


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("https://Me.example", "https://me.example/"),
        ("https://me.example:8443/kling/Calls", "https://me.example:8443/kling/Calls"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ],
)
def test_a_callback_address_keeps_its_path(given_url: str, expected: str) -> None:
    assert settled("--callback-url", given_url).callback_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "me.example", "http://me.example/", "https://me:hunter2@me.example/", "https://me.example/?token=hunter2",
        "https://me.example/#hunter2", "https://me.example/{hunter2}", "https://me.example//hunter2",
        "https://me.example/%2e", "https://me.example:port/", "ftp://me.example/", "",
    ],
)  # fmt: skip
def test_what_is_no_callback_address_is_refused_without_being_repeated(url: str) -> None:
    [problem] = problems("--callback-url", url)
    assert problem.strip().startswith("--callback-url: ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        (":80", ("0.0.0.0", 80)),
    ],
)
def test_a_place_to_listen_at(text: str, expected: tuple[str, int]) -> None:
    assert settled("--callback-listen", text).callback_listen == expected


@pytest.mark.parametrize("text", ["8080", "host", "host:", "host:65536", "::1:80", "a b:80", "host:-1", "host:8_0"])
def test_what_is_no_place_to_listen_at(text: str) -> None:
    [problem] = problems("--callback-listen", text)
    assert "127.0.0.1:8080" in problem


def test_the_webhook_secret_comes_from_the_environment_else_from_the_keys_file(tmp_path: Path) -> None:
    path = keys_file(tmp_path, 'api_key = "k"\nwebhook_secret = "whsec_file"')
    environ = {"KLING_WEBHOOK_SECRET": " whsec_env\n", "HOME": str(tmp_path)}
    assert load_webhook_secret(environ, path) == "whsec_env"
    assert load_webhook_secret({}, path) == "whsec_file"
    assert load_webhook_secret({"HOME": str(tmp_path)}, None) is None
    assert load_keys(environ, path) == load_keys({}, path)
    assert load_keys({}, keys_file(tmp_path, 'webhook_secret = "whsec_file"')) is None
    with pytest.raises(AccountError, match="KLING_WEBHOOK_SECRET") as caught:
        load_webhook_secret({"KLING_WEBHOOK_SECRET": "whsec_hunter2 hunter2"}, None)
    assert "hunter2" not in str(caught.value)


def keys_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_keys_from_the_environment_and_their_repr(tmp_path: Path) -> None:
    keys = load_keys(PAIR, None)
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.api_key) == ("AK-hunter2", "SK-hunter2", None)
    assert "hunter2" not in f"{keys!r} {keys}"
    single = load_keys({"KLING_API_KEY": " hunter2\n", "HOME": str(tmp_path)}, None)
    assert single is not None
    assert single.api_key == "hunter2"
    assert "hunter2" not in repr(single)


@pytest.mark.parametrize("present", sorted(PAIR))
def test_half_a_pair_names_the_missing_half(present: str) -> None:
    [missing] = set(PAIR) - {present}
    with pytest.raises(AccountError, match=f"{missing} is missing") as caught:
        load_keys({present: PAIR[present], "KLING_API_KEY": "k"}, None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["hunter2 hunter2", "hunter2\r\nX-Evil: 1", "hünter2", "hunter2\x00"])
def test_what_cannot_be_a_key_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(AccountError) as caught:
        load_keys({**PAIR, "KLING_SECRET_KEY": wrong}, None)
    assert "KLING_SECRET_KEY" in str(caught.value)
    assert "nter2" not in str(caught.value)


def test_keys_from_a_private_file(tmp_path: Path) -> None:
    keys = load_keys({}, keys_file(tmp_path, 'access_key = "a"\nsecret_key = "s"\napi_key = "k"'))
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.api_key) == ("a", "s", "k")


def test_the_environment_beats_the_file_and_never_mixes_with_it(tmp_path: Path) -> None:
    (tmp_path / ".config/batch_runner").mkdir(parents=True)
    keys_file(tmp_path / ".config/batch_runner", 'access_key = "a"\nsecret_key = "s"')
    keys = load_keys({"KLING_API_KEY": "k", "HOME": str(tmp_path)}, None)
    assert keys is not None
    assert (keys.access_key, keys.api_key) == (None, "k")


def test_a_keys_file_that_was_named_is_not_passed_over_for_other_keys_in_the_environment(tmp_path: Path) -> None:
    """Another account would pay than the one that was named."""
    path = keys_file(tmp_path, 'api_key = "hunter2"')
    with pytest.raises(AccountError, match=r"different keys.* unset KLING_ACCESS_KEY and KLING_SECRET_KEY") as caught:
        load_keys(PAIR, path)
    assert "hunter2" not in str(caught.value)
    assert load_keys({"KLING_API_KEY": "hunter2"}, path) == load_keys({}, path)
    both = keys_file(tmp_path, 'access_key = "AK-hunter2"\nsecret_key = "SK-hunter2"\napi_key = "k"')
    assert load_keys(PAIR, both) == load_keys(PAIR, None), "the same account"
    assert load_keys(PAIR, keys_file(tmp_path, 'webhook_secret = "whsec_x"')) == load_keys(PAIR, None)
    with pytest.raises(AccountError, match="check --keys-file"):
        load_keys(PAIR, tmp_path / "mistyped.toml")


def test_a_keys_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AccountError, match="not valid TOML"):
        load_keys({}, keys_file(tmp_path, f"api_key = {'[' * 5000}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("budget = 1e99999999999999999999", "a number that is too large"),
        (f"rpm = {'9' * 5000}", "a number that is too large"),
        (f"rpm = {'[' * 5000}", "nested too deeply"),
    ],
    ids=["exponent", "digits", "nested"],
)
def test_a_settings_file_that_no_parser_can_hold_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "batch_runner.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"batch_runner.toml .*{words}"):
        resolve({}, {}, path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_read_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    path = keys_file(tmp_path, 'api_key = "hunter2"', mode)
    with pytest.raises(AccountError, match=f"chmod 600 {path}") as caught:
        load_keys({}, path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["hunter2", 'api_key = "hunter2', 'hunter2 = "api_key"', 'access_key = "hunter2"', "api_key = 12", "\x01"]
)
def test_a_wrong_keys_file_is_refused_without_its_text(tmp_path: Path, text: str) -> None:
    with pytest.raises(AccountError) as caught:
        load_keys({}, keys_file(tmp_path, text))
    assert "hunter2" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_usual_place_may_be_empty_but_a_named_file_must_exist(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert load_keys(home, None) is None
    with pytest.raises(AccountError, match="--keys-file"):
        load_keys(home, tmp_path / "absent.toml")
    (tmp_path / ".config/batch_runner").mkdir(parents=True)
    keys_file(tmp_path / ".config/batch_runner", 'api_key = "k"')
    found = load_keys(home, None)
    assert found is not None
    assert found.api_key == "k"


def test_an_empty_keys_file_holds_no_keys(tmp_path: Path) -> None:
    assert load_keys({}, keys_file(tmp_path, "")) is None


def test_a_pipe_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    with pytest.raises(AccountError, match="not a regular file"):
        load_keys({}, path)
    with pytest.raises(AccountError):
        load_keys({}, tmp_path)


def test_the_words_without_keys_name_both_ways_on() -> None:
    for word in ("KLING_ACCESS_KEY", "KLING_SECRET_KEY", "KLING_API_KEY", "keys.toml", "--sandbox"):
        assert word in NO_KEYS_TEXT
