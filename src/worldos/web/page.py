"""The page as an ASGI application: a few files that say nothing about anybody, and one door behind the gate.

Whatever tells or changes something is a POST with JSON to ``/ask/NAME``, ``/follow/NAME`` or ``/passkey/...``, and passes
``gate.check_headers`` and ``gate.visit`` before its body is read. The files are read once, at the start; nothing that comes in
names a path. Names of strangers reach the page as JSON and are shown as text: there is no template, and the content security
policy allows neither inline code nor assigning markup (``require-trusted-types-for``).
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from worldos.errors import BadRequest, NotAllowed, OverQuota, WorldError
from worldos.home import Home
from worldos.web import passkeys
from worldos.web.asked import ASKED, FOLLOWED
from worldos.web.gate import SECRET_BYTES, Gate, Visit
from worldos.web.limits import BODY_BYTES_MAX, FOLLOWERS_MAX
from worldos.web.talk import PROGRAM, Stream, ask, said_of, to_json
from worldos.web.work import carry_out

STATIC = Path(__file__).with_name("static")
_MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
}
_arguments: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])

Handler = Callable[[Request], Awaitable[Response]]


class Page:
    """The page of one home at one origin."""

    def __init__(self, home: Home, gate: Gate) -> None:
        self.home = home
        self.gate = gate
        self._files = {
            f"/{path.relative_to(STATIC)}": (path.read_bytes(), _MEDIA[path.suffix])
            for path in sorted(STATIC.rglob("*"))
            if path.suffix in _MEDIA
        }
        self._files["/"] = self._files["/index.html"]
        self._following = 0
        self.app = Starlette(
            routes=[
                Route("/enter", self._told(self._enter), methods=["POST"]),
                Route("/vouch", self._told(self._vouch), methods=["POST"]),
                Route("/leave", self._told(self._leave), methods=["POST"]),
                Route("/ask/{name}", self._told(self._ask), methods=["POST"]),
                Route("/follow/{name}", self._told(self._follow), methods=["POST"]),
                Route("/passkey/{step}", self._told(self._passkey), methods=["POST"]),
                Route("/{path:path}", self._told(self._file), methods=["GET"]),
            ]
        )

    def _told(self, handler: Handler) -> Handler:
        """Let every failure come out as words, and every answer with the headers of this page."""

        @functools.wraps(handler)
        async def told(request: Request) -> Response:
            try:
                self.gate.check_headers(request.headers, asks=request.method != "GET")
                response = await handler(request)
            except WorldError as error:
                status, said = said_of(error)
                response = _json(said, status)
            response.headers.update(HEADERS)
            return response

        return told

    async def _file(self, request: Request) -> Response:
        found = self._files.get(request.url.path)
        if found is None:
            return _json({"error": "NotThere", "message": "there is no such page", "because": "", "hint": ""}, 404)
        return Response(found[0], media_type=found[1])

    async def _enter(self, request: Request) -> Response:
        arguments = await _body(request)
        link = arguments.get("link")
        if not isinstance(link, str):
            raise BadRequest("a link is missing")
        random = secrets.token_bytes(2 * SECRET_BYTES)
        visit = self.gate.enter(link, random, int(time.time()), _now_s())
        response = _json({"secret": visit.secret, "origin": self.gate.origin})
        response.set_cookie(
            self.gate.cookie_name,
            visit.cookie,
            max_age=visit.ends_s - _now_s(),
            httponly=True,
            samesite="strict",
            secure=self.gate.origin.startswith("https:"),
        )
        return response

    async def _vouch(self, request: Request) -> Response:
        nonce = (await _body(request)).get("nonce")
        return _json({"vouched": self.gate.vouch(nonce if isinstance(nonce, str) else "")})

    async def _leave(self, request: Request) -> Response:
        self.gate.leave(self._visit(request))
        response = _json({})
        response.delete_cookie(self.gate.cookie_name)
        return response

    async def _ask(self, request: Request) -> Response:
        visit = self._visit(request)
        asked = ASKED.get(request.path_params["name"])
        if asked is None:
            raise BadRequest("the page asks no such thing")
        if asked.sure:
            self.gate.check_sure(visit, _now_s())
        arguments = await _body(request)
        if asked.act:
            return _json(await run_in_threadpool(carry_out, self.home, asked.order, arguments, PROGRAM))
        return _json(await run_in_threadpool(ask, self.home, asked.order, {**arguments, **dict(asked.fixed)}))

    async def _follow(self, request: Request) -> Response:
        self._visit(request)
        order = FOLLOWED.get(request.path_params["name"])
        if order is None:
            raise BadRequest("the page follows no such thing")
        if self._following >= FOLLOWERS_MAX:
            raise OverQuota("too many pages follow something here", hint="close some of them")
        arguments = await _body(request)
        stream = await run_in_threadpool(Stream, self.home, order, arguments)
        return StreamingResponse(self._lines(stream), media_type="application/x-ndjson")

    async def _lines(self, stream: Stream) -> AsyncIterator[bytes]:
        self._following += 1
        try:
            async for line in stream.lines():
                yield line
        finally:
            self._following -= 1

    async def _passkey(self, request: Request) -> Response:
        visit = self._visit(request)
        step = passkeys.STEPS.get(request.path_params["step"])
        if step is None:
            raise BadRequest("there is no such step")
        arguments = await _body(request)
        said = passkeys.Said(
            home=self.home, gate=self.gate, visit=visit, now_s=_now_s(), random=secrets.token_bytes(32), said=arguments
        )
        return _json(await run_in_threadpool(step, said))

    def _visit(self, request: Request) -> Visit:
        return self.gate.visit(request.cookies, request.headers, _now_s())


async def _body(request: Request) -> dict[str, Any]:
    """Read the arguments: an object of JSON that says so, of a bounded size."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise NotAllowed("what is asked must come as JSON")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_BYTES_MAX:
            raise BadRequest(f"what is asked is larger than {BODY_BYTES_MAX} bytes")
    try:
        return _arguments.decode(bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadRequest("what is asked is no object of JSON") from cause


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status_code=status, media_type="application/json")


def _now_s() -> int:
    return int(time.monotonic())
