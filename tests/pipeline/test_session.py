"""One viewer's conversation: turns in order, interrupted and held ones, and what its history keeps."""

from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from session_room import MEASURED, Room, done

from avatars.bundle import AvatarBundle
from pipeline.conversation import MAX_QUEUED_TURNS
from pipeline.engine import Engine
from pipeline.errors import (
    AskedTooOften,
    BadRequest,
    SessionClosed,
)
from pipeline.history import Standing
from pipeline.reading_pace import AHEAD_CHARACTERS, CHARACTERS_PER_S
from pipeline.session import MAX_TEXT_CHARACTERS, Session
from pipeline.transports.memory import MemoryTransport
from pipeline.turn_context import Limits
from pipeline.types import (
    FPS,
    CutEvent,
    HoldEvent,
    Message,
    MetricsEvent,
    NoticeEvent,
    SubtitleEvent,
    TextEvent,
)


async def test_text_becomes_frames_with_sound_and_pictures_in_step(room: Room) -> None:
    """echo, beep and flash: the mouth box is white in exactly the frames that carry sound."""
    turn = room.session.say("one two three four", mode="echo")
    await room.until(done(room, turn))
    spoken = [frame for frame in room.transport.frames if frame.speaking]
    assert len(spoken) >= 15
    for frame in spoken:
        assert isinstance(frame.picture, np.ndarray)
        loud = float(np.sqrt(np.mean(frame.audio**2))) > 0.01
        assert (frame.picture[32, 32].tolist() == [255] * 3) == loud
    assert [frame.number for frame in room.transport.frames] == list(range(len(room.transport.frames)))


async def test_a_turn_tells_its_states_in_order(room: Room) -> None:
    """queued, thinking, speaking, done; with text, subtitle and stage times on the way."""
    turn = room.session.say("Hello there my friend.", mode="echo")
    await room.until(done(room, turn))
    assert room.states == [(turn, state) for state in ("queued", "thinking", "speaking", "done")]
    assert "".join(event.delta for event in room.all(TextEvent)) == "Hello there my friend."
    subtitle = room.all(SubtitleEvent)[0]
    assert subtitle.text == "Hello there my friend."
    first = next(frame for frame in room.transport.frames if frame.speaking)
    assert subtitle.start_s == pytest.approx(first.number / 25)
    assert list(room.all(MetricsEvent)[0].stages_ms)[:2] == ["llm_first_token", "first_sentence"]


async def test_echoes_are_queued_and_spoken_one_after_another(room: Room) -> None:
    """say(mode=echo) while speaking waits for its turn."""
    first = room.session.say("first things first", mode="echo")
    second = room.session.say("second", mode="echo")
    await room.until(done(room, second))
    assert [event.text for event in room.all(SubtitleEvent)] == ["first things first", "second"]
    assert room.states.index((first, "done")) <= room.states.index((second, "speaking"))


async def test_interrupting_ends_all_that_was_being_said(room: Room) -> None:
    """interrupt() silences the turn and those queued behind it, and the session can go on speaking."""
    first = room.session.say("a long sentence with very many words in it that goes on and on", mode="echo")
    second = room.session.say("never heard", mode="echo")
    await room.until(lambda: (first, "speaking") in room.states)
    await room.pass_time(0.2)
    room.session.interrupt()
    sent = len(room.transport.frames)
    await room.pass_time(1.0)
    assert room.states[-2:] == [(first, "interrupted"), (second, "interrupted")]
    assert not any(frame.audio.any() for frame in list(room.transport.frames)[sent + 1 :])
    third = room.session.say("again", mode="echo")
    await room.until(done(room, third))


async def test_a_chat_message_interrupts_what_is_being_said(room: Room) -> None:
    """Barge-in: a person's new question ends the answer before it."""
    first = room.session.say("tell me something long enough to be cut off in the middle of it")
    await room.until(lambda: (first, "speaking") in room.states)
    second = room.session.say("stop")
    await room.until(done(room, second))
    assert (first, "interrupted") in room.states
    assert (first, "done") not in room.states


async def test_the_history_keeps_only_what_was_heard(room: Room) -> None:
    """After an interrupt the assistant's message ends where the viewer's sound ended."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    turn = room.session.say(words)
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.8)
    room.session.interrupt()
    question, answer = room.session.conversation.history
    assert question == Message("user", words)
    assert answer.role == "assistant"
    assert words.startswith(answer.content.removesuffix(" …"))
    assert 0 < len(answer.content) < len(words)


async def test_of_an_interrupted_answer_the_history_leaves_out_what_was_still_on_its_way(room: Room) -> None:
    """A viewer who hears everything half a second later got less of it."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    lengths = []
    for delay_s in (0.0, 0.5):
        room.session.note_delay(delay_s)
        turn = room.session.say(words)
        await room.until(lambda turn=turn: (turn, "speaking") in room.states)
        await room.pass_time(1.0)
        room.session.interrupt()
        lengths.append(len(room.session.conversation.history[-1].content.split()))
    assert 0 < lengths[1] < lengths[0]


async def test_the_page_is_told_how_much_of_an_answer_was_played_in_its_own_characters(room: Room) -> None:
    """A browser counts an emoji as two; an answer of which nothing was played has 0."""
    turn = room.session.say("😀😀 one two three four five six seven eight nine ten")
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.8)
    room.session.interrupt()
    room.session.say("nothing of this")
    await room.clock.advance(0)
    room.session.interrupt()
    await room.pass_time(0.04)
    first, second = room.all(CutEvent)
    kept = room.session.conversation.history[1].content.removesuffix(" …")
    assert kept.startswith("😀😀 one")
    assert first == CutEvent(turn, len(kept) + 2)
    assert second == CutEvent(turn + 1, 0)


async def test_held_speech_goes_on_and_its_history_is_whole(room: Room) -> None:
    """hold() and resume() in mid-answer: silence between, all of it is said, and the turn ends once as done."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    turn = room.session.say(words)
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.8)
    room.session.conversation.hold()
    held = len(room.transport.frames)
    await room.pass_time(3.0)
    assert not any(frame.speaking for frame in list(room.transport.frames)[held + 1 :])
    room.session.note_reached((held - 5) / FPS)
    room.session.conversation.resume()
    await room.until(done(room, turn))
    assert room.states == [(turn, state) for state in ("queued", "thinking", "speaking", "done")]
    assert [event.held for event in room.all(HoldEvent)] == [True, False]
    assert room.session.conversation.history[-1].content == words
    first, again = room.all(SubtitleEvent)
    assert first.text == again.text and again.start_s > held / FPS


async def test_a_question_over_held_speech_keeps_what_was_played_of_it(room: Room) -> None:
    """The held answer ends where the viewer says that it was cut, and the next one is spoken at full length."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    turn = room.session.say(words)
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(1.2)
    room.session.conversation.hold()
    await room.pass_time(0.4)
    room.session.note_reached(0.0)
    assert room.session.conversation.history[-1].content == words  # handed over whole, and not done yet
    second = room.session.say("and now")
    await room.until(done(room, second))
    assert (turn, "interrupted") in room.states
    assert [message.content for message in room.session.conversation.history][-1] == "and now"


async def test_nothing_is_held_while_nothing_is_said(room: Room) -> None:
    """A hold without a turn, or two of them, or a resume without one, changes nothing."""
    room.session.conversation.hold()
    room.session.conversation.resume()
    assert not room.session.playout.holds
    turn = room.session.say("one two three four")
    await room.until(done(room, turn))
    assert room.all(HoldEvent) == []


async def test_a_whole_answer_is_remembered_whole(room: Room) -> None:
    """What was said to its end is in the history, and the next question sees it."""
    turn = room.session.say("good morning")
    await room.until(done(room, turn))
    assert [message.role for message in room.session.conversation.history] == ["user", "assistant"]
    assert room.session.conversation.history[1].content == "good morning"


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (MAX_TEXT_CHARACTERS + 1)])
async def test_text_that_cannot_be_said_is_refused(room: Room, text: str) -> None:
    """Empty and oversized text is an error of the caller and starts no turn."""
    with pytest.raises(BadRequest):
        room.session.say(text, mode="echo")
    assert room.session.stats()["turn"] == 0


async def test_text_that_nobody_hears_is_read_at_a_pace_and_to_its_end(room: Room) -> None:
    """Signs are not spoken, so speech does not hold them back. No interrupt lets a session have more of them read."""

    def read() -> int:
        return sum(len(event.delta) for event in room.told if isinstance(event, TextEvent))

    room.session.say('."' * 5000, "echo")
    await room.pass_time(1)
    assert 0 < read() <= AHEAD_CHARACTERS + 1.5 * CHARACTERS_PER_S
    await room.until(done(room, 1))
    assert read() == 10_000
    for _ in range(5):
        room.session.interrupt()
        room.session.say('."' * 5000, "echo")
        await room.pass_time(0.1)
    assert read() <= 10_000 + CHARACTERS_PER_S


@pytest.mark.parametrize("mode", ["echo", "chat"])
async def test_text_without_a_word_is_noticed(room: Room, mode: str) -> None:
    """Emoji only, asked for or answered: the page is told that nothing can be spoken, and the turn is done."""
    turn = room.session.say("🎉🎉🎉", mode=mode)
    await room.until(done(room, turn))
    assert not any(frame.speaking for frame in room.transport.frames)
    (notice,) = room.all(NoticeEvent)
    assert notice.code == "nothing_spoken" and "words" in notice.hint


async def test_only_so_many_answers_may_wait(room: Room) -> None:
    """The queue of turns is bounded and says so."""
    with pytest.raises(BadRequest, match="waiting"):
        for number in range(MAX_QUEUED_TURNS + 2):
            room.session.say(f"number {number}", mode="echo")


async def test_a_changed_transport_goes_on_with_the_turn(room: Room) -> None:
    """attach() in mid-turn: nothing is said twice or lost, and the old transport is closed."""
    turn = room.session.say("one two three four five six", mode="echo")
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.12)
    second = MemoryTransport(keep=10_000)
    await room.session.attach(second)
    await room.until(done(room, turn))
    frames = list(room.transport.frames) + list(second.frames)
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert second.frames[0].speaking
    assert not room.transport.stats().connected


async def test_only_so_many_questions_a_minute(room: Room, small_bundle: AvatarBundle) -> None:
    """Who asks without pause is refused with the time to wait, and the model is left alone; a minute later is heard."""
    limits = Limits(questions_a_minute=3)
    session = Session(
        "limited", replace(room.session.context, limits=limits), MEASURED, room.engine.metrics, room.engine.hearing
    )
    for _ in range(3):
        session.say("hello")
    with pytest.raises(AskedTooOften) as caught:
        session.say("hello")
    assert "61 seconds" in caught.value.hint
    session.say("still spoken", mode="echo")
    await room.clock.advance(60)
    session.say("hello")
    await session.aclose()


async def test_a_new_session_gives_nobody_more_questions(room: Room, small_bundle: AvatarBundle) -> None:
    """The next one of the same asker goes on counting; others, and two at one time, have their own count."""
    engine = Engine(clock=room.clock, limits=Limits(questions_a_minute=2))

    async def opened(session_id: str, asker: str) -> Session:
        return await engine.open_session(session_id, small_bundle, MEASURED, asker)

    async with aclosing(engine):
        await engine.start()
        first = await opened("first", "ada")
        beside = await opened("beside", "ada")
        for session in (first, beside):
            session.say("hello")
            session.say("hello")
        await engine.close_session(first)
        await engine.close_session(first)
        again, other = await opened("again", "ada"), await opened("other", "bob")
        with pytest.raises(AskedTooOften):
            again.say("hello")
        other.say("hello")
        await room.clock.advance(60)
        again.say("hello")
        await engine.close_session(again)
        fresh = await opened("fresh", "ada")
        fresh.say("hello")
        with pytest.raises(AskedTooOften):
            fresh.say("hello")


async def test_half_a_character_is_left_out(room: Room) -> None:
    """A lone half of an emoji, as JSON may carry it, stops nobody."""
    await room.until(done(room, room.session.say("Hi \ud83c there")))
    assert room.session.conversation.history[0] == Message("user", "Hi  there")


async def test_a_closed_session_refuses_and_closes_twice(room: Room) -> None:
    """After aclose() nothing can be said; its transport is closed and its events end."""
    await room.engine.close_session(room.session)
    await room.session.aclose()
    with pytest.raises(SessionClosed):
        room.session.say("hello")
    with pytest.raises(SessionClosed):
        await room.session.attach(MemoryTransport())
    assert not room.transport.stats().connected
    assert room.session.events.closed


async def test_sessions_do_not_hear_each_other(room: Room, small_bundle: AvatarBundle) -> None:
    """What one viewer asks reaches nobody else."""
    other = await room.engine.open_session("other", small_bundle, MEASURED)
    theirs = MemoryTransport(keep=10_000)
    await other.attach(theirs)
    turn = room.session.say("for my ears only", mode="echo")
    await room.until(done(room, turn))
    assert any(frame.speaking for frame in room.transport.frames)
    assert not any(frame.speaking for frame in theirs.frames)
    assert other.conversation.history == ()


async def test_where_a_conversation_stands_is_what_an_interruption_would_leave(room: Room) -> None:
    """Of the answer that is being spoken, what was played; nothing of it is changed by asking."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    assert room.session.standing() == Standing((), None, has_begun=False)
    turn = room.session.say(words)
    await room.clock.advance(0)
    assert room.session.standing() == Standing((Message("user", words),), "", has_begun=True)
    await room.until(lambda: (turn, "speaking") in room.states)
    await room.pass_time(0.8)
    standing = room.session.standing()
    assert standing.played and words.startswith(standing.played) and standing.played != words
    room.session.interrupt()
    history = room.session.conversation.history
    assert history == standing.history
    assert history[-1].content == f"{standing.played} …"
    await room.pass_time(0.04)
    assert room.session.standing() == Standing(history, None, has_begun=True)
