"""Texts of the panel that shows how the browser is connected: each way, its state, and why it does not work."""

from __future__ import annotations

__all__ = ["CONNECTION_TEXTS"]

CONNECTION_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "connection": "Connection",
        "noWays": "Press Start to see how pictures and sound reach this browser.",
        "way.host": "Directly (UDP)",
        "way.srflx": "Directly, through a router (UDP)",
        "way.relay_udp": "Relay, TURN over UDP",
        "way.relay_tcp": "Relay, TURN over TCP or TLS",
        "way.websocket": "WebSocket, without WebRTC",
        "standing.used": "in use",
        "standing.ready": "available",
        "standing.trying": "being tried",
        "standing.failed": "does not work",
        "standing.none": "not available",
        "standing.untried": "not tried",
        "why.no_reply": "The server did not reply to this browser: a firewall may block UDP.",
        "why.server_private": "The server offers only addresses of its own network. If you are in another one, the "
        "operator can set webrtc_address or a TURN server.",
        "why.no_udp": "The browser offers no address of its own for UDP.",
        "why.no_stun": "The operator has named no STUN server. Most connections need none.",
        "why.stun_silent": "The STUN server did not answer: a firewall may block UDP.",
        "why.no_turn": "The operator has set no TURN server for this way.",
        "why.turn_refused": "The TURN server refused the user name or the password. The operator can check them with: "
        "python launch.py doctor",
        "why.turn_unreachable": "The TURN server could not be reached.",
        "why.turn_silent": "The TURN server has not answered.",
        "why.stopped": "It worked, and then its pictures stopped.",
    },
    "zh": {
        "connection": "连接",
        "noWays": "点击“开始”后，这里会显示画面和声音通过哪种方式传到此浏览器。",
        "way.host": "直连（UDP）",
        "way.srflx": "经路由器直连（UDP）",
        "way.relay_udp": "中继（TURN，UDP）",
        "way.relay_tcp": "中继（TURN，TCP 或 TLS）",
        "way.websocket": "WebSocket（不用 WebRTC）",
        "standing.used": "正在使用",
        "standing.ready": "可用",
        "standing.trying": "正在尝试",
        "standing.failed": "不通",
        "standing.none": "不可用",
        "standing.untried": "未尝试",
        "why.no_reply": "服务器没有回应此浏览器，可能是防火墙屏蔽了 UDP。",
        "why.server_private": "服务器只提供了它所在网络内部的地址。如果你在另一个网络，请运维人员设置 webrtc_address "
        "或 TURN 服务器。",
        "why.no_udp": "浏览器没有提供自己的 UDP 地址。",
        "why.no_stun": "运维人员没有设置 STUN 服务器；大多数连接不需要它。",
        "why.stun_silent": "STUN 服务器没有应答，可能是防火墙屏蔽了 UDP。",
        "why.no_turn": "运维人员没有设置这种 TURN 服务器。",
        "why.turn_refused": "TURN 服务器拒绝了用户名或密码。运维人员可以用 python launch.py doctor 检查。",
        "why.turn_unreachable": "无法连接 TURN 服务器。",
        "why.turn_silent": "TURN 服务器没有应答。",
        "why.stopped": "曾经连通，但后来画面中断了。",
    },
}
