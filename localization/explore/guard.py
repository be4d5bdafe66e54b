"""Who may ask: a page that this server gave to who knows its token, in a browser on this machine, and nobody else.

A local server is reached by every page in the same browser (a form, an image, a rebound name), so that each request
must name this host, come from no other origin, and carry the token as the first part of its path.
"""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",  # the address holds the token
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def guarded(app: App, port: int, token: str) -> App:
    """`app` behind the three checks; its paths are those after the token."""
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no websocket is opened here
        if problem := refusal(scope, hosts, token):
            await refuse(send, problem)
            return
        rest = scope["path"][len(token) + 1 :]
        await app({**scope, "path": rest, "raw_path": rest.encode()}, receive, _with_headers(send))

    return checked


def refusal(scope: Scope, hosts: set[str], token: str) -> str:
    """Why this request is not answered, "" where it is."""
    said: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    host = said.get("host", [])
    if len(host) != 1 or host[0].lower() not in hosts:
        return "wrong host"
    if any(origin.lower() != f"http://{host[0].lower()}" for origin in said.get("origin", [])):
        return "foreign origin"
    if any(site not in ("none", "same-origin") for site in said.get("sec-fetch-site", [])):
        return "foreign site"
    given = scope["path"].split("/")
    if len(given) < 3 or not secrets.compare_digest(given[1].encode(), token.encode()):
        return "wrong token"
    return ""


async def refuse(send: Send, problem: str) -> None:
    body = f"refused: {problem}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return sending
