"""Run the Prefect server as `prefect server start` does, but closed to others.

Anybody who may use its API can run commands. So the API requires `PREFECT_SERVER_API_AUTH_STRING`,
and the server does not start without it. Foreign web pages cannot reach it: it answers only to its
own names and those in ALLOWED_HOSTS (a page could make its own name point here), accepts no other
origin, requires a token with each change, and cannot be shown in a frame. Prefect has settings for
most of this, but none of them is its default.

Its page asks for the login, and keeps it in the browser. Where a proxy that knows the operators
adds the login to each request (tools/proxy/secure.Caddyfile), the page does not ask.
"""

import argparse
import base64
import hmac
import json
import os
import sys
from collections.abc import Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Whatever the settings say, Prefect's pages load a remote configuration for its makers' analytics.
# This policy prevents that.
POLICY = b"connect-src 'self'; frame-ancestors 'none'"


def settings(port: int, keep_days: float = 90) -> dict[str, str]:
    """Return those of Prefect's settings that are the same wherever it runs.

    Parameters
    ----------
    port : int
        The port that it is reached on.
    keep_days : float
        How many days it keeps finished runs, with their logs.
    """
    return {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://localhost:{port},http://127.0.0.1:{port}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_API_URL": "/api",  # of whatever name the page was opened by
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # For a week, the crash rule (see deploy.py) also finds the runs that died while the server
        # was down.
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
        # By default runs and their logs are kept for ever; only events are deleted, after a week.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(round(keep_days * 86_400)),
    }


def closed(app: ASGIApp, names: Sequence[str]) -> ASGIApp:
    """Return the application so that it answers to these names only, with a policy for browsers."""

    async def with_policy(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        await app(scope, receive, send_with_policy)

    return TrustedHostMiddleware(with_policy, allowed_hosts=names, www_redirect=False)


def asking_once(app: ASGIApp, login: str) -> ASGIApp:
    """Return the application so that its page does not ask for a login that requests have already.

    Parameters
    ----------
    app : ASGIApp
    login : str
        USER:PASSWORD, as `PREFECT_SERVER_API_AUTH_STRING`.
    """
    basic = b"Basic " + base64.b64encode(login.encode())

    def has_login(scope: Scope) -> bool:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(sent) == 1 and hmac.compare_digest(sent[0], basic)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_asked = scope["type"] == "http" and scope["path"].endswith("/ui-settings")
        if not is_asked or not has_login(scope):
            await app(scope, receive, send)
            return

        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await app({**scope, "headers": headers}, receive, collect)
        start, *parts = messages
        body = b"".join(part.get("body", b"") for part in parts)
        if start["status"] == 200:
            body = json.dumps({**json.loads(body), "auth": None}).encode()
        kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await send({**start, "headers": [*kept, length]})
        await send({"type": "http.response.body", "body": body})

    return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.servers.prefect_server", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=4200, help="port (4200)")
    parser.add_argument(
        "--no-services",
        action="store_true",
        help="the API and its page only: no run starts by itself",
    )
    parser.add_argument(
        "--upgrade",
        action="store_true",
        help="migrate the database, which nobody may use meanwhile",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    if options.upgrade:
        import anyio
        from prefect.server.database.alembic_commands import alembic_upgrade

        anyio.run(lambda: anyio.to_thread.run_sync(alembic_upgrade))
        return

    login = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    if not login:
        sys.exit("prefect-server: it needs a login: PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD")

    keep = os.environ.get("RUN_KEEP_DAYS") or "90"
    try:
        os.environ.update(settings(options.port, float(keep)))
    except (ValueError, OverflowError):
        sys.exit(f"prefect-server: RUN_KEEP_DAYS={keep} is not a number of days")

    named = os.environ.get("ALLOWED_HOSTS", "").replace(" ", "")
    names = {"localhost", "127.0.0.1", "prefect-server", options.host, *named.split(",")} - {""}

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    app = asking_once(create_app(final=True, webserver_only=options.no_services), login)
    level = get_current_settings().server.logging_level.lower()
    uvicorn.run(closed(app, sorted(names)), host=options.host, port=options.port, log_level=level)


if __name__ == "__main__":
    main()
