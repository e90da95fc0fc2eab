"""The page's addresses. Nothing is kept between requests: each brings its recording, which goes when it is answered.

GET  /                     the page (its parts beside it)
GET  /api/status           how the server is, its detectors, the limits
POST /api/score            a file → its score by one detector
POST /api/audio            a file → its audio as the detectors hear it
POST /api/speech           a file → where speech and silence are, a line of JSON for each step of the work
POST /api/rows             rows of scores → a score file
WS   /api/live             the microphone → windows' scores (live.py)
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from dfclient.audio import AUDIO_SUFFIXES, AudioOptions
from dfclient.errors import (
    InputError,
    ModelChanged,
    ModelNotFound,
    RequestRefused,
    ServerBusy,
    ServerSlow,
    ServerUnavailable,
)
from dfcontract.errors import DfserveError
from dfcontract.score_file import NAMES, csv_line
from dfpage import hearing, live
from dfpage.detectors import Detectors
from dfpage.errors import PageInputError, UploadRefused
from dfpage.guard import Guard
from dfpage.scoring import Choice, chosen_audio, score_upload
from dfpage.settings import Settings
from dfpage.uploads import Upload, Uploads

MAX_AT_ONCE = 4  # recordings being decoded or scored; others wait their turn
MAX_ROWS_BYTES = 64 << 20
STATUSES: tuple[tuple[type[DfserveError], int], ...] = (
    (UploadRefused, 413),
    (InputError, 422),
    (PageInputError, 400),
    (ServerUnavailable, 503),
    (ServerBusy, 503),
    (ServerSlow, 503),
    (ModelNotFound, 503),  # the page asks again when the server has it
    (ModelChanged, 503),  # and at once, by the new model's card
    (RequestRefused, 422),
    (DfserveError, 502),
)


def create_app(settings: Settings) -> Starlette:
    """The application.

    Raises:
        InputError: the server's address can be none.
    """
    page = _Page(settings)
    routes = [
        Route("/api/status", page.status),
        Route("/api/score", page.score, methods=["POST"]),
        Route("/api/audio", page.audio, methods=["POST"]),
        Route("/api/speech", page.speech, methods=["POST"]),
        Route("/api/rows", page.rows, methods=["POST"]),
        WebSocketRoute("/api/live", page.live),
        Mount("/", StaticFiles(packages=[("dfpage", "static")], html=True)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={DfserveError: _error},
        lifespan=page.lifespan,
    )


class _Page:
    """What the addresses share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detectors = Detectors(settings.server_url)
        self._uploads = Uploads(settings)
        self._limiter = CapacityLimiter(MAX_AT_ONCE)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Whatever happens, uploads are gone at the end."""
        try:
            yield
        finally:
            self._uploads.close()
            self._detectors.close()

    async def status(self, _request: Request) -> Response:
        status = await to_thread.run_sync(self._detectors.status)
        limits = {"max_bytes": self._settings.max_bytes, "max_s": self._settings.max_s}
        return JSONResponse({**status, **limits, "suffixes": sorted(AUDIO_SUFFIXES)})

    async def score(self, request: Request) -> Response:
        choice = Choice.of(request.query_params)
        async with self._uploads.received(request) as upload:
            found = await to_thread.run_sync(self._scored, upload, choice, limiter=self._limiter)
        return JSONResponse(found)

    async def audio(self, request: Request) -> Response:
        async with self._uploads.received(request) as upload:
            waveform = await to_thread.run_sync(
                self._loaded, upload, chosen_audio(request.query_params), limiter=self._limiter
            )
        return Response(hearing.heard(waveform), media_type="application/octet-stream")

    async def speech(self, request: Request) -> Response:
        async with self._uploads.received(request) as upload:
            waveform = await to_thread.run_sync(
                self._loaded, upload, chosen_audio(request.query_params), limiter=self._limiter
            )
        return StreamingResponse(_speech_lines(waveform.samples), media_type="application/x-ndjson")

    async def rows(self, request: Request) -> Response:
        rows = await _rows_of(request)
        lines = [csv_line(NAMES), *(csv_line(tuple(row[name] for name in NAMES)) for row in rows)]
        content = "".join(lines).encode("utf-8", "surrogatepass")
        return Response(content, media_type="text/csv; charset=utf-8")

    async def live(self, socket: WebSocket) -> None:
        await live.listen(socket, self._detectors, self._settings.max_s)

    def _scored(self, upload: Upload, choice: Choice) -> dict[str, Any]:
        self._uploads.check_length(upload)
        return score_upload(self._detectors.to_score(choice.model), upload, choice)

    def _loaded(self, upload: Upload, chosen: AudioOptions) -> Any:
        self._uploads.check_length(upload)
        return hearing.load(str(upload.path), chosen)


async def _speech_lines(samples: Any) -> AsyncIterator[str]:
    """A line after each step: what is done, where speech is so far; who goes away stops the work."""
    finder = hearing.SpeechFinder(samples)
    silence = finder.silence()
    batches = finder.batches()
    while (done_s := await to_thread.run_sync(next, batches, None)) is not None:
        yield json.dumps({"done_s": done_s, "speech": finder.speech(), "silence": silence}) + "\n"


async def _rows_of(request: Request) -> list[dict[str, str]]:
    """The rows that the page asks to have written: text in each of the score file's columns."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ROWS_BYTES:
            raise UploadRefused(f"expected rows of at most {MAX_ROWS_BYTES >> 20} MiB")
    try:
        rows = json.loads(body)
    except ValueError:
        rows = None
    texts = isinstance(rows, list) and all(
        isinstance(row, dict) and set(row) == set(NAMES) and all(isinstance(text, str) for text in row.values())
        for row in rows
    )
    if not texts:
        raise PageInputError(f"expected a list of rows with text in the columns {', '.join(NAMES)}")
    return list(rows)


async def _error(_request: Request, error: Exception) -> Response:
    """One line for the person, and whether to ask again when the server is back."""
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    return JSONResponse({"error": str(error), "kind": type(error).__name__}, status_code=status)
