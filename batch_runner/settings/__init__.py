"""Settings of a run and the account's keys; every value checked, every problem told together."""

from batch_runner.settings.keys import DEFAULT_KEYS_FILE, NO_KEYS_TEXT, Keys, load_keys, load_webhook_secret
from batch_runner.settings.options import DEFAULT_BASE_URL, OPTION_NAMES, OPTIONS, Option, Settings, add_flags
from batch_runner.settings.sources import SETTINGS_FILE, is_given, is_secret_name, resolve
from batch_runner.settings.values import check_batch_name

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_KEYS_FILE",
    "NO_KEYS_TEXT",
    "OPTIONS",
    "OPTION_NAMES",
    "SETTINGS_FILE",
    "Keys",
    "Option",
    "Settings",
    "add_flags",
    "check_batch_name",
    "is_given",
    "is_secret_name",
    "load_keys",
    "load_webhook_secret",
    "resolve",
]
