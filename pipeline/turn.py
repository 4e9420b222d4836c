"""A Turn is one answer, from a person's text to pictures with their sound. It is cancelled as a whole.

    think (LLM -> sentences) -> speak (TTS -> speech) -> slice (features -> speech slices)
        -> draw (lip-sync and compositing -> playout)

Each arrow is a bounded channel, and each stage is a task of one TaskGroup. A stage that ends closes the channel after
it. If a stage fails, the group cancels the others, and the failure is reported as an ErrorEvent. Each stage closes the
model streams that it reads, so an interrupted turn leaves no request open.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from models.errors import VivavoceError
from pipeline.audio import in_pieces
from pipeline.channel import Channel
from pipeline.drawing import Drawing
from pipeline.errors import LanguageModelError, LanguageNotSupported, SpeechError
from pipeline.metrics import TurnTimes
from pipeline.polish import VoicePolish
from pipeline.reading_pace import ReadingPace
from pipeline.retries import patience_with_models, with_retries
from pipeline.streams import each_within, items_and_pauses
from pipeline.text import SentenceSplitter, detect_language, speakable
from pipeline.text.apologies import APOLOGIES
from pipeline.text.sentences import Sentence
from pipeline.text.tags import GestureTag, GestureTags
from pipeline.timeline import SentenceTimeline, SpeechSlice, expected_duration_s
from pipeline.tts.speed import kept_speed, speech_at
from pipeline.turn_context import TurnContext
from pipeline.types import FPS, AudioChunk, ErrorEvent, Message, NoticeEvent, SessionEvent, TextEvent

__all__ = ["Turn", "Utterance"]

logger = logging.getLogger(__name__)
R = TypeVar("R")
T = TypeVar("T")
T_Error = TypeVar("T_Error", bound=Exception)

SENTENCES_BOUND = 4
SPEECH_BOUND_S = 2.0
SLICES_BOUND = FPS  # 1 s of feature windows
PIECE_CHARACTERS = 250
"""Longest piece of a text that is told at once. A model may send a megabyte at once; other tasks run in between."""
PAUSE_S = 0.4
"""When the model pauses this long after the end of a sentence, the sentence is spoken without waiting for more text."""
DEVICE_PIECE_S = 0.32
"""Length of speech for which a network makes features at a time.

So the first picture does not wait for the whole sentence, and neither do other sessions.
"""
READING_RATE_HZ = 24_000
"""Rate of the silence that stands for a sentence no voice can speak, while it is shown for reading."""
SHORTEST_READING_S = 1.0
NOTHING_SPOKEN = NoticeEvent(
    "nothing_spoken", "There is nothing here that can be spoken.", "A voice needs words, not only signs or emoji."
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a turn says: an answer to `messages`, or `text` word for word, or finished `speech`."""

    messages: Sequence[Message] = ()
    text: str | None = None
    speech: AsyncIterator[AudioChunk] | None = None


@dataclass(frozen=True, slots=True)
class _Sentence:
    index: int
    text: str
    "the text that the voice speaks and the subtitle shows"
    end: int = 0
    "where the sentence ends in the turn's whole text, in characters"
    gestures: tuple[str, ...] = ()
    "gestures that begin with this sentence"


@dataclass(frozen=True, slots=True)
class _Speech:
    sentence: _Sentence
    chunk: AudioChunk
    voiced: bool = True
    "False: silence that lasts while the sentence is read"


class Turn:
    """Call run() once. When it has returned or was cancelled, `text` is what the turn was meant to say."""

    def __init__(
        self,
        turn_id: int,
        context: TurnContext,
        utterance: Utterance,
        emit: Callable[[SessionEvent], None],
        shows_unspoken: bool = True,
        times: TurnTimes | None = None,
        pace: ReadingPace | None = None,
    ) -> None:
        """shows_unspoken: whether sentences that no voice can speak are shown for as long as reading takes.

        times: takes the turn's marks; None: they count from now. pace: how fast the text is cut into sentences; None:
        as fast as it comes.
        """
        self.id = turn_id
        self.text = ""
        self.times = times or TurnTimes(context.clock)
        self._context = context
        self._speaks_as = context
        "the context whose voice and speed the next sentence uses"
        self._utterance = utterance
        self._pace = pace
        self._emit = emit
        self._shows_unspoken = shows_unspoken
        self._tags = GestureTags(context.gesture_names)
        self._gestures: deque[GestureTag] = deque()
        "gestures found in the text that no sentence has taken yet"
        self._said: list[_Sentence] = []
        self._sentences: Channel[_Sentence] = Channel(SENTENCES_BOUND)
        self._speech: Channel[_Speech] = Channel(SPEECH_BOUND_S, lambda item: item.chunk.duration_s)
        self._slices: Channel[SpeechSlice] = Channel(SLICES_BOUND)
        self._told: set[NoticeEvent | ErrorEvent] = set()
        self._excused = False
        self._drawing = Drawing(turn_id, context, self.times)

    @property
    def frames_sent(self) -> int:
        """Number of frames handed to the playout."""
        return self._drawing.frames_sent

    def change_voice(self, context: TurnContext) -> None:
        """Use this context's voice and speed for all sentences whose synthesis has not begun."""
        self._speaks_as = context

    def text_until(self, index: int, share: float) -> str:
        """Return the text up to a share (0..1) of a sentence, cut at a whole word: what was played by then."""
        if index >= len(self._said):
            return self.text
        start = self._said[index - 1].end if index else 0
        raw = self.text[start : self._said[index].end]
        part = raw[: round(share * len(raw))]
        if " " in raw and len(part) < len(raw):
            part = part.rpartition(" ")[0]
        return self.text[:start] + part

    async def run(self) -> None:
        """Speak. Returns when the last frame has been handed to the playout. Failures are reported as events.

        An unexpected error is reported, too, and then raised as an ExceptionGroup.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._think(), name=f"turn-{self.id}-think")
                group.create_task(self._speak(), name=f"turn-{self.id}-speak")
                group.create_task(self._slice(), name=f"turn-{self.id}-slice")
                group.create_task(self._drawing.run(self._slices), name=f"turn-{self.id}-draw")
        except* VivavoceError as failures:
            for error in _leaves(failures):
                self._tell(error)
        except* Exception:  # unexpected: tell the viewer that the answer ends here, and leave the cause to the log
            self._emit(
                ErrorEvent("internal", "This answer failed inside the server.", "See the server's log; try again.")
            )
            raise
        else:
            for gesture in self._gestures_until(len(self.text)):  # after the last sentence
                self._context.begin_gesture(gesture)
                self._excused = True
            if not self.frames_sent and not self._excused:
                self._emit(NOTHING_SPOKEN)

    async def _think(self) -> None:
        splitter = SentenceSplitter()
        try:
            if self._utterance.speech is not None:
                await self._sentences.send(_Sentence(0, ""))
                return
            try:
                async with aclosing(self._pieces(splitter)) as pieces:
                    async for piece in pieces:
                        if piece is None:
                            await self._say(splitter.pause())
                        else:
                            await self._take(piece, splitter)
            except LanguageModelError as error:
                self._tell(error)
                await self._take_rest(splitter)
                if self._said and error.retryable:
                    await self._apologise()
            else:
                await self._take_rest(splitter)
        finally:
            self._sentences.close()

    async def _apologise(self) -> None:
        """Say that the answer breaks off here. The apology is not part of the answer: text and history leave it out."""
        apology = APOLOGIES.get(await self._in_pool(detect_language, self.text)) or APOLOGIES["en"]
        await self._queue_sentence(apology, len(self.text))

    async def _take(self, piece: str, splitter: SentenceSplitter) -> None:
        self.times.mark("llm_first_token")
        text, tags = self._tags.push(piece)
        self._gestures += tags
        await self._take_text(text, splitter)

    async def _take_text(self, text: str, splitter: SentenceSplitter) -> None:
        """Tell a piece of the answer, and say its sentences. Other tasks run between two steps of the work."""
        if not text:
            return
        self._emit(TextEvent(self.id, text))
        self.text += text
        for sentences in splitter.steps(text):
            await self._say(sentences)
            await asyncio.sleep(0)
        if self._pace is not None:
            await self._pace.read(len(text))

    async def _take_rest(self, splitter: SentenceSplitter) -> None:
        """Say what remains when the answer has ended."""
        await self._take_text(self._tags.flush(), splitter)
        await self._say(splitter.flush())

    def _gestures_until(self, end: int) -> tuple[str, ...]:
        """Take the gestures at or before that place of the text, and return the name of the last one, if any.

        All of them would begin at the same picture, each replacing the one before. Beginning each of them would let a
        text of thousands of tags hold up the event loop.
        """
        due: list[str] = []
        while self._gestures and self._gestures[0].at <= end:
            due.append(self._gestures.popleft().name)
        return tuple(due[-1:])

    async def _pieces(self, splitter: SentenceSplitter) -> AsyncGenerator[str | None, None]:
        """Yield the answer in pieces small enough to be cut into sentences within milliseconds.

        Yields None when the answer pauses after what may be a whole sentence.
        """

        def patience_s() -> float | None:
            return PAUSE_S if splitter.has_ended else None

        async with aclosing(items_and_pauses(self._answer(), patience_s, self._context.clock)) as deltas:
            async for delta in deltas:
                if delta is None:
                    yield None
                    continue
                for at in range(0, len(delta), PIECE_CHARACTERS):
                    yield delta[at : at + PIECE_CHARACTERS]

    def _answer(self) -> AsyncGenerator[str, None]:
        if self._utterance.text is not None:
            return _single_delta(self._utterance.text)
        return with_retries(self._ask_model, self._context.clock, patience_with_models)

    def _ask_model(self) -> AsyncGenerator[str, None]:
        deltas = self._context.llm.stream(self._utterance.messages)
        return each_within(deltas, self._context.limits.wordless_s, LanguageModelError, "The language model")

    async def _say(self, sentences: Sequence[Sentence]) -> None:
        for sentence in sentences:
            if spoken := speakable(sentence):
                self.times.mark("first_sentence")
                await self._queue_sentence(spoken, sentence.end)
            else:  # a sentence that is spoken waits for room; others would be looked at all at once
                await asyncio.sleep(0)

    async def _queue_sentence(self, text: str, end: int) -> None:
        said = _Sentence(len(self._said), text, end, self._gestures_until(end - 1))
        self._said.append(said)
        await self._sentences.send(said)

    async def _speak(self) -> None:
        try:
            async for sentence in self._sentences:
                await self._voice(sentence)
        finally:
            self._speech.close()

    async def _voice(self, sentence: _Sentence) -> None:
        """Pass a sentence's speech on. Even after a failure, speech that was begun ends with a final chunk."""
        chunk: AudioChunk | None = None
        failed = True
        try:
            async with aclosing(self._chunks(sentence)) as chunks:
                async for chunk in chunks:
                    self.times.mark("first_audio")
                    await self._speech.send(_Speech(sentence, chunk))
        except LanguageNotSupported as error:
            self._notice(error)
        except SpeechError as error:
            self._tell(error)
        else:
            failed = False
        if chunk is not None and not chunk.final:
            end = AudioChunk(np.zeros(0, np.float32), chunk.sample_rate, final=True)
            await self._speech.send(_Speech(sentence, end))
        elif chunk is None and failed and self._shows_unspoken and sentence.text:
            await self._speech.send(_Speech(sentence, _time_to_read(sentence.text), voiced=False))

    async def _chunks(self, sentence: _Sentence) -> AsyncGenerator[AudioChunk, None]:
        ready, text = self._utterance.speech, sentence.text
        wait_s = self._context.limits.speechless_s
        if ready is not None:
            async with aclosing(each_within(ready, wait_s, SpeechError, "The recording")) as chunks:
                async for chunk in chunks:
                    yield chunk
        elif text:
            polish = VoicePolish()
            wanted = self._speaks_as
            self._name_speed(wanted)
            voice = speech_at(wanted.tts, text, wanted.voice, wanted.speed)
            async with aclosing(each_within(voice, wait_s, SpeechError, "The voice")) as chunks:
                async for chunk in chunks:
                    self._name_substitute(wanted.voice, chunk.voice)
                    yield await self._in_pool(polish.push, chunk)

    async def _slice(self) -> None:
        stream = self._context.extractor.stream()
        timeline: SentenceTimeline | None = None
        gestures: tuple[str, ...] = ()
        try:
            async for item in self._speech:
                if timeline is None:
                    timeline = SentenceTimeline(item.sentence.index, item.sentence.text, stream, item.voiced)
                    gestures = item.sentence.gestures
                async with aclosing(self._slices_of(timeline, item.chunk)) as slices:
                    async for speech_slice in slices:
                        self.times.mark("first_features")
                        await self._slices.send(replace(speech_slice, gestures=gestures) if gestures else speech_slice)
                        gestures = ()
                if item.chunk.final:
                    timeline = None
        finally:
            self._slices.close()

    async def _slices_of(self, timeline: SentenceTimeline, chunk: AudioChunk) -> AsyncGenerator[SpeechSlice, None]:
        context = self._context
        if not context.extractor.on_device:
            for speech_slice in await self._in_pool(timeline.push, chunk):
                yield speech_slice
            return
        speech = await self._in_pool(timeline.take, chunk)
        for piece in in_pieces(speech, DEVICE_PIECE_S):
            wanted_s = context.playout.due_s(len(context.playout.spoken))
            windows = await context.device.call(partial(timeline.windows, piece), wanted_s)
            for speech_slice in timeline.slices(windows):
                yield speech_slice

    async def _in_pool(self, function: Callable[..., R], *arguments: object) -> R:
        """Run work of some milliseconds in the pool. The event loop must stay free: it paces everybody's sound."""
        return await asyncio.get_running_loop().run_in_executor(self._context.executor, function, *arguments)

    def _name_substitute(self, wanted: str | None, voice: str) -> None:
        """Tell a viewer who chose a voice that another one speaks."""
        if wanted and voice and voice != wanted:
            self._emit(
                NoticeEvent(
                    "voice_replaced",
                    f"The voice '{wanted}' does not speak this sentence; '{voice}' does.",
                    "It does not speak the language, or cannot be reached now.",
                )
            )

    def _name_speed(self, wanted: TurnContext) -> None:
        """Tell a viewer who chose a speed that the voice cannot speak at it."""
        name, speed = wanted.tts.name, wanted.speed
        kept = kept_speed(wanted.tts, speed)
        if kept != speed:
            message = f"The voice of {name} cannot speak {speed:g} times as fast; it speaks {kept:g} times as fast."
            self._emit(NoticeEvent("speed_not_kept", message, "Choose another voice, or another speed."))

    def _notice(self, error: VivavoceError) -> None:
        self._tell_once(NoticeEvent(error.code, error.message, error.hint))

    def _tell(self, error: VivavoceError) -> None:
        logger.warning("turn %d: %s", self.id, error)
        self._tell_once(ErrorEvent.of(error))

    def _tell_once(self, event: NoticeEvent | ErrorEvent) -> None:
        """Report an event once per turn: a reason that stops one sentence mostly stops the others, too."""
        self._excused = True
        if event not in self._told:
            self._told.add(event)
            self._emit(event)


def _leaves(group: BaseExceptionGroup[T_Error]) -> Iterator[T_Error]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _time_to_read(text: str) -> AudioChunk:
    duration_s = max(SHORTEST_READING_S, expected_duration_s(text))
    return AudioChunk(
        np.zeros(round(duration_s * READING_RATE_HZ), np.float32), READING_RATE_HZ, phonemes=(), final=True
    )


async def _single_delta(item: T) -> AsyncGenerator[T, None]:
    yield item
