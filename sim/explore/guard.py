"""Who may talk to the page's server: this machine's browser, from the page itself, and nobody else.

A page of somebody else's that the user has open could send requests to 127.0.0.1, and with a name that it points there
(DNS rebinding) read the answers. So the Host of a request must be this machine by number or `localhost`, with the port;
an Origin, where a browser names one, must be the same; and browsers that say a request comes from another site are refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY_MAX = 64 * 1024  # bytes of a request
LOCAL = ("127.0.0.1", "localhost")
HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:;"
     b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)  # fmt: skip

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An application that hands on what may pass, and answers everything else with 403 or 413 in one line."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in LOCAL}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        why = self.why_not(scope)
        if scope["type"] != "http" or why is not None:
            await _refuse(send, 403, why or "only pages are served here")
            return
        if scope.get("method") == "POST" and not _is_short(scope):
            await _refuse(send, 413, f"a request's body has a length of at most {BODY_MAX} bytes")
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)

    def why_not(self, scope: Scope) -> str | None:
        """Why a request may not pass; None where it may."""
        said = _headers(scope)
        if said.get("host", "").lower() not in self.hosts:
            return "this server answers to 127.0.0.1 alone"
        origin = said.get("origin")
        if origin is not None and origin not in self.origins:
            return "requests from other sites are refused"
        if said.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "requests from other sites are refused"
        is_json = said.get("content-type", "").partition(";")[0].strip() == "application/json"
        return "a request's body is JSON" if scope.get("method") == "POST" and not is_json else None


def _is_short(scope: Scope) -> bool:
    """Whether a body says how long it is, and that is not too long; digits without end are no number."""
    length = _headers(scope).get("content-length", "")
    return length.isdecimal() and len(length) < 20 and int(length) <= BODY_MAX


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; of one that comes twice nothing is believed."""
    found: dict[str, str] = {}
    for name, value in scope.get("headers", []):
        key = name.decode("latin-1").lower()
        found[key] = "(given twice)" if key in found else value.decode("latin-1")
    return found


async def _refuse(send: Send, code: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})
