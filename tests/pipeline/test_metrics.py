"""What a portal's operator sees of turns: marks, histograms, losses, a line of the log, and spans."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from session_room import Room, done

from pipeline import tracing
from pipeline.clock import ManualClock
from pipeline.ears.events import NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.metrics import TurnTimes
from pipeline.tracing import trace_turn
from pipeline.transports.memory import MemoryTransport
from pipeline.transports.stats import TransportStats
from pipeline.types import MetricsEvent


def samples(room: Room) -> dict[str, float]:
    """Each sample of /metrics as Prometheus reads it: `name` or `name{label value}`."""
    families = text_string_to_metric_families(room.engine.exposition().decode())
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def test_marks_count_from_the_start_that_was_given_and_come_in_their_order() -> None:
    """A mark noted late, for an earlier time, has its place; the first of a name stays."""
    clock = ManualClock()
    await clock.advance(10.0)
    times = TurnTimes(clock, start_s=9.0)
    times.mark("first_sentence")
    times.note("transcript", 9.5)
    await clock.advance(1.0)
    times.mark("first_sentence")
    assert list(times.marks_ms().items()) == [("transcript", 500.0), ("first_sentence", 1000.0)]
    assert times.at_s("first_sentence") == 10.0 and times.at_s("first_seen") is None


async def test_prometheus_reads_every_mark_of_a_turn(room: Room) -> None:
    """From the first word to the picture that left: one observation each in a histogram."""
    turn = room.session.say("Hello there my friend.")
    await room.until(done(room, turn))
    found = samples(room)
    assert found["vivavoce_turns_total{done}"] == 1
    for mark in ("llm_first_token", "first_sentence", "first_audio", "first_features", "first_patch", "first_frame"):
        assert found[f"vivavoce_turn_stage_seconds_count{{{mark}}}"] == 1
    assert found["vivavoce_turn_stage_seconds_count{first_release}"] == 1


async def test_a_spoken_question_counts_from_the_end_of_its_speech(room: Room) -> None:
    """Its transcript is a mark of its own, and all others are later."""
    await room.pass_time(2.0)
    turn = room.session.say("Hello there my friend.", speech_ended_s=room.clock.now_s() - 0.7)
    await room.until(done(room, turn))
    marks = room.all(MetricsEvent)[0].stages_ms
    assert next(iter(marks.items())) == ("transcript", pytest.approx(700.0))
    assert min(marks.values()) == marks["transcript"]


async def test_what_the_ears_heard_counts_from_the_last_word(room: Room) -> None:
    """The wait for the end of the turn counts too; an utterance that nobody had time for takes no other's times."""
    room.session.listening.take_heard(SpeechBegan(0.0))
    await room.pass_time(1.0)
    room.session.listening.take_heard(SpeechGoesOn(1.0))
    await room.pass_time(0.6)
    room.session.listening.take_heard(SpeechEnded())
    room.session.listening.take_heard(SpeechBegan(1.6))
    room.session.listening.take_heard(SpeechEnded())
    room.session.listening.take_heard(NoWords(busy=True))
    await room.pass_time(0.2)
    room.session.listening.take_heard(Words("Hello there my friend.", final=True, language="en"))
    await room.until(done(room, 1))
    assert room.all(MetricsEvent)[0].stages_ms["transcript"] == pytest.approx(800.0)


async def test_a_turn_that_waits_behind_another_counts_from_its_own_beginning(room: Room) -> None:
    """Otherwise whoever queues texts would see slow voices."""
    room.session.say("one two three four five six seven eight nine ten", mode="echo")
    second = room.session.say("eleven", mode="echo")
    await room.until(done(room, second))
    first_marks, second_marks = (event.stages_ms for event in room.all(MetricsEvent))
    assert second_marks["first_sentence"] == first_marks["first_sentence"] == 0.0


async def test_what_the_viewer_saw_is_a_mark_and_the_page_is_told(room: Room) -> None:
    """The first report counts; reports of other turns, and delays nobody has, do no harm."""
    turn = room.session.say("one two three four five six seven eight")
    await room.until(lambda: (turn, "speaking") in room.states)
    room.session.note_seen(turn, 0.2)
    room.session.note_seen(turn, 3.0)
    room.session.note_seen(99, 0.2)
    await room.until(done(room, turn))
    early, late = (event.stages_ms for event in room.all(MetricsEvent))
    assert "first_seen" not in early
    assert late["first_seen"] == pytest.approx(late["first_release"] + 200)
    assert samples(room)["vivavoce_turn_stage_seconds_count{first_seen}"] == 1


async def test_a_picture_that_is_seen_after_the_turn_is_counted_and_told_nobody(room: Room) -> None:
    """A short answer may be over before its first picture has arrived: nothing follows the end of a turn."""
    turn = room.session.say("Hi.")
    await room.until(done(room, turn))
    room.session.note_seen(turn, 0.2)
    await room.pass_time(0.2)
    assert samples(room)["vivavoce_turn_stage_seconds_count{first_seen}"] == 1
    assert len(room.all(MetricsEvent)) == 1


class Lossy(MemoryTransport):
    """Drops pictures and sound as it is told."""

    dropped = 0

    def stats(self) -> TransportStats:
        return TransportStats(pictures_sent=7, bytes_sent=70, pictures_dropped=self.dropped, audio_dropped=1)


async def test_every_dropped_picture_is_counted_once_whatever_becomes_of_the_transport(room: Room) -> None:
    """Scraped twice, replaced, and the session closed: no loss is missed and none counted twice."""
    first, second = Lossy(), Lossy()
    await room.session.attach(first)
    first.dropped = 3
    assert samples(room)["vivavoce_dropped_pictures_total{memory}"] == 3
    first.dropped = 5
    await room.session.attach(second)
    second.dropped = 2
    await room.engine.close_session(room.session)
    found = samples(room)
    assert found["vivavoce_dropped_pictures_total{memory}"] == 7
    assert found["vivavoce_dropped_sound_frames_total{memory}"] == 2


async def test_what_is_lost_shows_at_once(room: Room) -> None:
    """A scrape in the middle of a turn sees what was lost until then."""
    room.session.playout.starved_pictures = 4
    room.session.playout.repeated_pictures = 3
    room.session.playout.slipped_s = 0.5
    found = samples(room)
    assert (found["vivavoce_starved_pictures_total"], found["vivavoce_slipped_seconds_total"]) == (4, 0.5)
    assert found["vivavoce_repeated_pictures_total"] == 3


async def test_tasks_are_counted_as_they_are_asked_for(room: Room) -> None:
    """What never ends would be seen to grow."""
    before = samples(room)["vivavoce_tasks"]
    waiting = asyncio.create_task(asyncio.Event().wait())
    assert samples(room)["vivavoce_tasks"] == before + 1
    waiting.cancel()


async def test_the_log_has_one_line_for_each_turn(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """With session, turn, outcome and marks; a turn that was interrupted while it waited has none."""
    caplog.set_level(logging.INFO, "pipeline.turn_marks")
    first = room.session.say("one two three four five six seven eight", mode="echo")
    room.session.say("never begun", mode="echo")
    await room.until(lambda: (first, "speaking") in room.states)
    room.session.interrupt()
    whole, waiting = [record.getMessage() for record in caplog.records]
    assert whole.startswith("session test turn 1 interrupted llm_first_token=0ms ")
    assert waiting.strip() == "session test turn 2 interrupted"


def test_a_turn_is_a_span_with_a_span_for_each_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """By OpenTelemetry's own API; each mark reaches from the one before it."""
    spans: list[Any] = []

    def start_span(name: str, context: object = None, attributes: object = None, start_time: int = 0) -> Any:
        span = SimpleNamespace(name=name, attributes=attributes, start=start_time)
        span.end = lambda at: setattr(span, "ended", at)
        spans.append(span)
        return span

    monkeypatch.setattr(tracing.trace, "get_tracer", lambda _name: SimpleNamespace(start_span=start_span))
    monkeypatch.setattr("time.time_ns", lambda: 5_000_000_000)
    trace_turn("s1", 3, "done", -2.0, {"first_audio": 500.0, "first_frame": 750.0})
    assert [(span.name, span.start, span.ended) for span in spans] == [
        ("conversation.turn", 3_000_000_000, 5_000_000_000),
        ("first_audio", 3_000_000_000, 3_500_000_000),
        ("first_frame", 3_500_000_000, 3_750_000_000),
    ]
    assert spans[0].attributes == {"session.id": "s1", "vivavoce.turn": 3, "vivavoce.outcome": "done"}


def test_without_the_package_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency."""
    monkeypatch.setattr(tracing, "trace", None)
    trace_turn("s1", 3, "done", -2.0, {"first_audio": 500.0})
