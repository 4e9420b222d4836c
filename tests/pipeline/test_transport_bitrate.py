"""BitrateLimit: a low estimate counts only when more than that is being sent."""

from __future__ import annotations

from pipeline.transports.bitrate import BitrateLimit


def sending(kbps: int, limit: BitrateLimit) -> None:
    """Five seconds of pictures at that rate."""
    for _ in range(125):
        limit.on_picture(kbps * 1000 // 8 // 25)


def test_there_is_no_limit_before_an_estimate() -> None:
    """A viewer who says nothing gets the nominal rate."""
    assert BitrateLimit().bps is None


def test_an_estimate_below_what_is_sent_is_a_limit() -> None:
    """Some of it does not arrive: slow down to what does."""
    limit = BitrateLimit()
    sending(1000, limit)
    limit.on_remb(600_000)
    assert limit.bps == 600_000


def test_a_low_estimate_while_little_is_sent_is_none() -> None:
    """While a loop is replayed, browsers estimate little more than the loop; speech must not start blurred for that."""
    limit = BitrateLimit()
    sending(300, limit)
    limit.on_remb(450_000)
    assert limit.bps is None


def test_a_limit_rises_with_later_estimates() -> None:
    """When the way recovers, so does the picture; an estimate that fell for want of data takes nothing away."""
    limit = BitrateLimit()
    sending(1000, limit)
    limit.on_remb(500_000)
    sending(500, limit)
    limit.on_remb(700_000)
    assert limit.bps == 700_000
    sending(200, limit)
    limit.on_remb(300_000)
    assert limit.bps == 700_000


def test_a_single_key_frame_is_no_stream() -> None:
    """One large picture does not make an ordinary estimate look like congestion."""
    limit = BitrateLimit()
    sending(300, limit)
    limit.on_picture(20_000)
    limit.on_remb(450_000)
    assert limit.bps is None
