"""Scores while the microphone records: chunks in over a WebSocket, windows out as they are answered.

→ one text message   {"rate_hz": 48000}
→ binary messages    int16, little-endian, mono
→ one text message   "end"
← text messages      {"window": [start_s, end_s, score], "pooled": score, "is_above": whether the pooled score reaches
                      its threshold, null where it has none}
                     {"is_connected": false}     while the server is away
                     {"result": …}               at the end, as scoring.score_values
                     {"error": "…"}              instead, and no more follows
"""

import asyncio
import json
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from dfclient import AsyncLiveStream
from dfclient.results import calibration_for
from dfcontract.errors import DfserveError
from dfpage.detectors import Detectors, threshold_of
from dfpage.errors import PageInputError, UploadRefused
from dfpage.scoring import Choice, score_values

END = "end"
MAX_CHUNK_BYTES = 1 << 20
WATCH_S = 0.5  # how often it is looked whether the server is still there


async def listen(socket: WebSocket, detectors: Detectors, max_s: float) -> None:
    """Serve one stream of one detector."""
    await socket.accept()
    try:
        choice = Choice.of(socket.query_params)
        rate_hz = _rate_of(await _received(socket))
        detector = await run_in_threadpool(detectors.to_listen, choice.model)
        async with detector.stream_async(rate_hz, hop_s=choice.hop_s, pool=choice.pool) as live:
            await _relay(socket, live, max_s)
            await socket.send_json({"result": score_values(live.result("microphone"))})
        await socket.close()
    except WebSocketDisconnect:
        return
    except DfserveError as error:
        await _say_why(socket, str(error))


async def _relay(socket: WebSocket, live: AsyncLiveStream, max_s: float) -> None:
    """Audio one way and windows the other until both have ended; what fails first ends all."""
    watching = asyncio.create_task(_watch(socket, live))
    working = [asyncio.create_task(_send_audio(socket, live, max_s)), asyncio.create_task(_send_windows(socket, live))]
    try:
        await asyncio.gather(*working)
    finally:
        for task in (watching, *working):
            task.cancel()
        await asyncio.gather(watching, *working, return_exceptions=True)


async def _send_audio(socket: WebSocket, live: AsyncLiveStream, max_s: float) -> None:
    while (message := await _received(socket)) != END:
        if not isinstance(message, bytes) or len(message) > MAX_CHUNK_BYTES or len(message) % 2:
            raise PageInputError(f"expected chunks of int16 samples, at most {MAX_CHUNK_BYTES} bytes each")
        if live.duration_s > max_s:
            raise UploadRefused(f"expected at most {max_s / 60:g} minutes of audio: end this recording, begin another")
        await live.send(np.frombuffer(message, "<i2"))
    await live.end()


async def _send_windows(socket: WebSocket, live: AsyncLiveStream) -> None:
    threshold = threshold_of(live.card, calibration_for(live.card, live.windowing.cutting))
    async for window in live.follow():
        found, pooled = [window.start_s, window.end_s, window.score], live.pooled
        is_above = None if threshold is None or pooled is None else pooled >= threshold
        await socket.send_json({"window": found, "pooled": pooled, "is_above": is_above})


async def _watch(socket: WebSocket, live: AsyncLiveStream) -> None:
    was_connected = True
    while True:
        await asyncio.sleep(WATCH_S)
        if live.is_connected != was_connected:
            was_connected = live.is_connected
            await socket.send_json({"is_connected": was_connected})


async def _received(socket: WebSocket) -> bytes | str:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    content: Any = message.get("bytes") if message.get("bytes") is not None else message.get("text", "")
    return content if isinstance(content, bytes) else str(content)


def _rate_of(text: str | bytes) -> int:
    try:
        rate_hz = json.loads(text)["rate_hz"]
    except (ValueError, KeyError, TypeError):
        rate_hz = None
    if not isinstance(rate_hz, int):
        raise PageInputError('expected {"rate_hz": a whole number} as the first message')
    return rate_hz


async def _say_why(socket: WebSocket, error: str) -> None:
    try:
        await socket.send_json({"error": error})
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):  # it has gone meanwhile
        return
