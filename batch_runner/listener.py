"""A small HTTP server of this program, from the moment it listens until it is closed."""

from __future__ import annotations

from aiohttp import web

_KEEPALIVE_S = 3630.0
"""aiohttp's own: longer than the hour for which whoever is in front of it may keep a connection."""


class Listener:
    """Serves an application at one address of this machine.

    Args:
        host: the address to listen at.
        port: 0 takes a free one.
        shutdown_s: so long requests under way are given to end when it closes.
        keepalive_s: so long a connection may be idle.
    """

    def __init__(self, host: str, port: int, *, shutdown_s: float, keepalive_s: float = _KEEPALIVE_S) -> None:
        self._host, self._port = host, port
        self._shutdown_s, self._keepalive_s = shutdown_s, keepalive_s
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """``http://host:port`` while it listens."""
        assert self._runner is not None, "nobody is listening"
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def open(self, app: web.Application) -> None:
        """Begin to listen.

        Raises:
            OSError: the address cannot be had; nothing is left open.
        """
        runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=self._keepalive_s, shutdown_timeout=self._shutdown_s
        )
        try:
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def close(self) -> None:
        """Listen no more; does nothing where it does not listen."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
