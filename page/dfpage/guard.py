"""Who may ask for anything: a browser on an address that is ours, sent by our own page, with the token.

Against DNS rebinding, the Host header must be one of ours. Against pages of other origins, whatever changes or uploads
something must come with our own Origin: browsers send cookies to every port of a host. A program that sends the token
in a header itself (``Authorization: Bearer``) is no browser that somebody could have tricked, and needs no Origin.
"""

from hmac import compare_digest
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dfpage.settings import Settings

SAFE_METHODS = ("GET", "HEAD")
POLICY_VIOLATION = 1008  # the WebSocket's status for "not you" (RFC 6455, section 7.4.1)
REFUSED_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>dfpage: refused</title>
<meta name="color-scheme" content="light dark"><meta name="viewport" content="width=device-width">
<main><h1>This page is locked</h1><p>{reason}</p></main></html>"""
LOCKED = "Open the address that dfpage printed when it was started: it carries the token that this page asks for."
WRONG_HOST = "This address is none that dfpage was started for. Open the one that it printed."
WRONG_ORIGIN = "This request came from another page than dfpage's own."


def security_headers(hosts: frozenset[str]) -> dict[str, str]:
    """Headers of every answer: the page may load and reach nothing but its own server."""
    # Older browsers do not take 'self' for WebSockets; addresses of IPv6 can't be written in a policy.
    sockets = " ".join(f"ws://{host} wss://{host}" for host in sorted(hosts) if "[" not in host)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "media-src": "blob:",
        "connect-src": f"'self' {sockets}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cache-Control": "no-store",
    }


class Guard:
    """Middleware that lets through what `Settings` allow, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._headers = security_headers(settings.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = self._answer(HTTPConnection(scope))
        if answer is None:
            await self._app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION)(scope, receive, send)
        else:
            await answer(scope, receive, self._with_headers(send))

    def _answer(self, connection: HTTPConnection) -> Response | None:
        """What is answered instead of the app; None: the request may pass."""
        if connection.headers.get("host", "").lower() not in self._settings.hosts:
            return _refused(WRONG_HOST)
        token = connection.query_params.get("token")
        if connection.url.path == "/" and token is not None and self._is_token(token):
            return self._welcome()
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return None if self._is_token(bearer) else _refused(LOCKED)
        if not self._is_token(connection.cookies.get(self._settings.cookie, "")):
            return _refused(LOCKED)
        is_safe = connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS
        origin = connection.headers.get("origin")
        if origin is None:
            return None if is_safe else _refused(WRONG_ORIGIN)
        return None if urlsplit(origin).netloc.lower() in self._settings.hosts else _refused(WRONG_ORIGIN)

    def _is_token(self, text: str) -> bool:
        return compare_digest(text.encode(), self._settings.token.encode())

    def _welcome(self) -> Response:
        """The token becomes a cookie, and leaves the address bar."""
        response = RedirectResponse("/", status_code=303)
        # Not "strict": then whoever follows the printed address from a chat or a mail would come without it.
        response.set_cookie(self._settings.cookie, self._settings.token, httponly=True, samesite="lax")
        return response

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        return sending


def _refused(reason: str) -> Response:
    return HTMLResponse(REFUSED_PAGE.format(reason=reason), status_code=403)
