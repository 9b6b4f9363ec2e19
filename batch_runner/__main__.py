"""``python -m batch_runner``."""

from batch_runner.cli import entry

if __name__ == "__main__":
    entry()
