"""What carries frames to a viewer. The first is the default."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, Label, same

__all__ = ["ROWS"]

ROWS = (
    BackendRow(
        kind="transport",
        name="webrtc",
        path="pipeline.transports.webrtc:WebRtcTransport",
        label=same("WebRTC"),
    ),
    BackendRow(
        kind="transport",
        name="websocket",
        path="pipeline.transports.websocket:WebSocketTransport",
        label=same("WebSocket"),
    ),
    BackendRow(
        kind="transport",
        name="memory",
        path="pipeline.transports.memory:MemoryTransport",
        label=Label("Memory · for measuring", "Memory · 测量用"),
        measuring=True,
    ),
)
