"""Transports, which carry frames to a viewer. The first is the default."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, for_measuring, same

__all__ = ["ROWS"]

ROWS = (
    BackendRow("transport", "webrtc", "pipeline.transports.webrtc:WebRtcTransport", same("WebRTC")),
    BackendRow("transport", "websocket", "pipeline.transports.websocket:WebSocketTransport", same("WebSocket")),
    for_measuring("transport", "memory", "pipeline.transports.memory:MemoryTransport", "Memory"),
)
