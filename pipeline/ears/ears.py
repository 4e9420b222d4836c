"""Ears: turns the samples of one session's microphone into words.

    hear() -> inbox -> canceller, voice activity (on a thread) -> utterance -> end of turn -> recogniser -> report()

Time is counted in samples, so the results do not depend on when sound arrives. Two tasks serve a session: one takes the
sound, the other gets the words of each utterance, in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.errors import VivavoceError
from pipeline.audio import AudioFramer
from pipeline.channel import Channel
from pipeline.clock import Clock
from pipeline.ears.events import Failed, Heard, NoWords, SpeechBegan, SpeechEnded, SpeechGoesOn, Words
from pipeline.ears.hearing import Hearing, Senses
from pipeline.ears.inbox import Inbox, Mode, Sound
from pipeline.ears.utterance import SHORTEST_SPEECH_S, WINDOW_SAMPLES, Step, Utterance, UtteranceFinder
from pipeline.errors import EarsBusy, RecognitionError
from pipeline.interfaces import VoiceActivityStream
from pipeline.types import LISTEN_RATE_HZ, EarsEvent, EarsState, FloatArray, ListenMode, Transcript

__all__ = ["BACKLOG_S", "Canceller", "Ears"]

logger = logging.getLogger(__name__)

BACKLOG_S = 2.0
"""Most sound that waits for processing. Beyond it the oldest is dropped and counted; more would delay reactions."""
LOADING_BACKLOG_S = 10.0
"""The same until the networks are loaded, so that speech in that time is heard."""
SILENT_MICROPHONE_S = 1.0
"""A microphone that sends nothing for this long during an utterance was unplugged; that counts as silence."""
COMPLETE = 0.5
"""Probability from which a pause counts as the end of a turn."""
UNHURRIED_S = 0.1
"""Sound that is processed in one step while nobody speaks: each step costs a change of threads."""
MAX_WAITING_UTTERANCES = 4
"""Most utterances of one session that wait for recognition."""
MAX_PARTS = 4
"""Most parts of 20 to 30 s of one utterance. After that, the speech so far is answered."""
PARTIAL_EVERY_S = 1.0
_WITHOUT_SPACES = frozenset({"zh", "ja", "th"})


class Canceller(Protocol):
    """Removes the avatar's own voice from a microphone's sound. Used on one thread at a time."""

    def cancel(self, samples: FloatArray, arrived_s: float) -> FloatArray:
        """Clean (n,) float32 at LISTEN_RATE_HZ that arrived at that clock time.

        Returns (m,); may hold back the rest.
        """
        ...

    def skip(self, count: int) -> None:
        """Note that `count` samples were lost before the next call of cancel()."""
        ...

    def restart(self) -> None:
        """Begin a new stream: the next samples for cancel() do not follow the previous ones."""
        ...


@dataclass(frozen=True, slots=True)
class _Said:
    """An utterance, or a part of a long one."""

    samples: FloatArray | None
    "None: too little speech for recognition"
    final: bool
    language: str | None
    early: asyncio.Task[Transcript] | None = None
    "a recognition that was begun early and covers all of the speech"


@dataclass(slots=True)
class _Early:
    """A recognition of an utterance that goes on."""

    task: asyncio.Task[Transcript]
    utterance: Utterance
    speech_s: float
    "length of the speech it was given"
    duration_s: float


@dataclass(slots=True)
class _Counts:
    """Totals for stats()."""

    heard_samples: int = 0
    utterances: int = 0
    with_words: int = 0


class Ears:
    """Call start() before use and aclose() after; aclose() may be called twice. It hears only while listen() says so.

    report: called on the event loop with each report, in order. canceller: used on a thread of `hearing`.
    asker: who is served, where sessions take turns at the recogniser. is_hurried: whether speech must be noticed at
    once, because it would interrupt the avatar.
    """

    def __init__(
        self,
        hearing: Hearing,
        clock: Clock,
        report: Callable[[Heard], None],
        canceller: Canceller | None = None,
        asker: str = "",
        is_hurried: Callable[[], bool] = lambda: True,
    ) -> None:
        self._hearing = hearing
        self._clock = clock
        self._report = report
        self._canceller = canceller
        self._asker = asker
        self._is_hurried = is_hurried
        self._inbox = Inbox()
        self._watching: asyncio.Task[None] | None = None  # checks that the microphone goes on sending
        self._senses: Senses | None = None
        self._stream: VoiceActivityStream | None = None
        self._framer = AudioFramer(WINDOW_SAMPLES)
        self._finder = UtteranceFinder(hearing.choice.silence_s)
        self._wanted: ListenMode = "off"  # the mode requested last; it applies after the sound before it
        self._mode: ListenMode = "off"
        self._language: str | None = None
        self._said: Channel[_Said] = Channel(MAX_WAITING_UTTERANCES)
        self._parts = 0
        self._early: _Early | None = None
        self._recognising = False
        self._state = EarsState.OFF
        self._tasks: list[asyncio.Task[None]] = []
        self._counts = _Counts()

    def start(self) -> None:
        """Start the two tasks. Idempotent."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen_on(), name="ears-listen"),
                asyncio.create_task(self._find_words(), name="ears-words"),
            ]

    def listen(self, mode: ListenMode, language: str | None = None) -> None:
        """Change the mode for the sound that follows. Sound that came before still counts in the previous mode.

        language: ISO 639-1 code of the viewer's language; None: the operator's choice, or detected.
        """
        self._wanted = mode
        self._inbox.put_mode(Mode(mode, language))

    @property
    def is_on(self) -> bool:
        """Whether the sound given to hear() counts."""
        return self._wanted != "off"

    def hear(self, samples: FloatArray) -> None:
        """Take the next sound, (n,) float32 at LISTEN_RATE_HZ.

        Never waits: if too much is queued, the oldest is dropped.
        """
        if not len(samples) or not self.is_on:
            return
        max_s = BACKLOG_S if self._senses else LOADING_BACKLOG_S
        self._inbox.put_sound(samples, self._clock.now_s(), max_s * LISTEN_RATE_HZ)
        hurried = self._finder.utterance is not None or self._is_hurried()
        if self._inbox.samples >= (WINDOW_SAMPLES if hurried else UNHURRIED_S * LISTEN_RATE_HZ):
            self._inbox.arrived.set()

    def stats(self) -> dict[str, object]:
        """Return a snapshot for people and tests."""
        return {
            "mode": self._mode,
            "state": str(self._state),
            "recognizer": self._senses.recognition.recognizer.name if self._senses else "",
            "heard_s": round(self._counts.heard_samples / LISTEN_RATE_HZ, 1),
            "waiting_ms": round(1000 * self._inbox.samples / LISTEN_RATE_HZ),
            "dropped_ms": round(1000 * self._inbox.dropped_samples / LISTEN_RATE_HZ),
            "utterances": self._counts.utterances,
            "with_words": self._counts.with_words,
        }

    async def aclose(self) -> None:
        """Stop. Unfinished speech is not recognised. Idempotent."""
        tasks, self._tasks = self._tasks, []
        early = [said.early for said in self._said.clear()] + [self._early.task if self._early else None]
        running = [*tasks, *(run for run in (*early, self._watching) if run is not None)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._inbox.clear()

    # -- sound --

    async def _listen_on(self) -> None:
        """Process changes of mode and sound, in order, until cancelled."""
        while True:
            await self._inbox.arrived.wait()
            self._inbox.arrived.clear()
            while self._inbox:
                try:
                    if isinstance(asked := self._inbox.take(), Mode):
                        await self._switch(asked)
                    else:
                        await self._take(asked)
                except VivavoceError as error:  # from loading: the viewer may try again
                    self._fall_silent(error)
                except Exception:  # unexpected: the session goes on without ears
                    logger.exception("ears failed")
                    self._fall_silent(RecognitionError("Listening failed.", "Switch the microphone off and on again."))

    async def _watch(self, utterance: Utterance) -> None:
        """While an utterance goes on, add silence whenever the microphone sends nothing."""
        while self._finder.utterance is utterance:
            now_s, due_s = self._clock.now_s(), self._inbox.came_s + SILENT_MICROPHONE_S
            if now_s >= due_s:
                if self._mode == "open":
                    self.hear(np.zeros(round(SILENT_MICROPHONE_S * LISTEN_RATE_HZ), np.float32))
                due_s = now_s + SILENT_MICROPHONE_S
            await self._clock.sleep_until(due_s)

    async def _switch(self, wanted: Mode) -> None:
        if wanted.mode != "off" and self._senses is None:
            self._senses = await self._hearing.loaded()
        if self._mode == "hold" or wanted.mode == "off":
            self._end_utterance()
        if self._mode == "off" and wanted.mode != "off" and self._senses:
            self._stream = self._senses.vad.stream()
            self._framer = AudioFramer(WINDOW_SAMPLES)
            if self._canceller is not None:
                self._canceller.restart()
        self._mode, self._language = wanted.mode, wanted.language or self._hearing.choice.language
        if wanted.mode == "hold":
            if self._finder.utterance is None:
                self._report(SpeechBegan(self._clock.now_s()))
            self._finder.hold()
        self._tell_state()

    def _fall_silent(self, error: VivavoceError) -> None:
        self._wanted = self._inbox.last_mode or "off"
        self._mode, self._stream = "off", None
        self._finder.take()
        self._report(Failed(error))
        self._tell_state()

    async def _take(self, sound: Sound) -> None:
        if self._mode == "off" or self._senses is None:
            return
        self._counts.heard_samples += len(sound.samples)
        loop = asyncio.get_running_loop()
        for window, probability in await loop.run_in_executor(self._senses.executor, self._look, sound):
            await self._go_on(self._finder.push(window, probability), sound.arrived_s)

    def _look(self, sound: Sound) -> list[tuple[FloatArray, float]]:
        """Return windows of 32 ms, each with its probability of speech. Runs on a thread."""
        assert self._stream is not None
        windows = self._framer.push(self._cleaned(sound))
        return [(window, self._stream.push(window)) for window in windows]

    def _cleaned(self, sound: Sound) -> FloatArray:
        if self._canceller is None:
            return sound.samples
        if sound.lost:
            self._canceller.skip(sound.lost)
        return self._canceller.cancel(sound.samples, sound.arrived_s)

    # -- utterances --

    async def _go_on(self, step: Step, arrived_s: float) -> None:
        utterance = self._finder.utterance
        if utterance is None or step is Step.NOTHING:
            return
        if step is Step.BEGAN:
            if self._watching is not None:
                self._watching.cancel()
            self._watching = asyncio.create_task(self._watch(utterance), name="ears-watch")
            self._report(SpeechBegan(arrived_s - utterance.speech_s))
            self._tell_state()
        if step in (Step.BEGAN, Step.GOES_ON):
            self._report(SpeechGoesOn(utterance.speech_s))
            self._listen_early(utterance)
        elif step is Step.LONG:
            self._cut(utterance)
        elif step is Step.SILENT or await self._is_complete(utterance):
            self._end_utterance()

    async def _is_complete(self, utterance: Utterance) -> bool:
        """Whether the speaker, who pauses, is done. Sound that arrives meanwhile waits (0.1 s)."""
        assert self._senses is not None
        if utterance.speech_s < SHORTEST_SPEECH_S:
            return False
        self._listen_early(utterance, pause=True)
        return await self._senses.pauses.probability(utterance.samples(), self._asker) >= COMPLETE

    def _end_utterance(self) -> None:
        utterance = self._finder.take()
        run = self._run_for(utterance)
        self._parts = 0
        if utterance is None:
            return
        self._counts.utterances += 1
        self._report(SpeechEnded())
        if len(self._said) >= MAX_WAITING_UTTERANCES:
            if run is not None:
                run.cancel()
            self._report(NoWords(busy=True))
        else:
            samples = utterance.samples() if utterance.speech_s >= SHORTEST_SPEECH_S else None
            self._said.offer(_Said(samples, True, self._language, run))
        self._tell_state()

    def _run_for(self, utterance: Utterance | None) -> asyncio.Task[Transcript] | None:
        """Return the early recognition if it covers all of the speech; otherwise cancel it."""
        early, self._early = self._early, None
        if early is None:
            return None
        if early.utterance is utterance and early.speech_s == early.utterance.speech_s:
            return early.task
        early.task.cancel()
        return None

    def _cut(self, utterance: Utterance) -> None:
        """Queue the first part of a long utterance for recognition."""
        self._parts += 1
        if self._parts >= MAX_PARTS or len(self._said) >= MAX_WAITING_UTTERANCES:
            self._end_utterance()
        else:
            self._said.offer(_Said(utterance.cut(), False, self._language))

    # -- words --

    def _listen_early(self, utterance: Utterance, pause: bool = False) -> None:
        """Recognise an unfinished utterance, if that is cheap and nobody else waits: every second, and in each pause.

        If a pause turns out to be the end, a recognition begun there already has the words.
        """
        assert self._senses is not None
        recognition, before = self._senses.recognition, self._early
        is_due = pause or utterance.duration_s - (before.duration_s if before else 0) >= PARTIAL_EVERY_S
        if not (is_due and recognition.recognizer.partial and recognition.is_idle) or len(self._said) or self._parts:
            return
        if before is not None and not before.task.done():
            return
        run = asyncio.create_task(
            recognition.transcribe(utterance.samples(), self._language, self._asker), name="ears-early"
        )
        self._early = _Early(run, utterance, utterance.speech_s, utterance.duration_s)
        run.add_done_callback(lambda done: self._heard_early(done, utterance))

    def _heard_early(self, run: asyncio.Task[Transcript], utterance: Utterance) -> None:
        if run.cancelled() or run.exception() is not None or utterance is not self._finder.utterance:
            return  # failures are reported by the final recognition
        found = run.result()
        if found.text:
            self._report(Words(found.text, final=False, language=found.language))

    async def _find_words(self) -> None:
        before: list[Transcript] = []  # of the earlier parts of this utterance
        async for said in self._said:
            self._recognising = True
            self._tell_state()
            try:
                before = await self._words_of(said, before)
            except EarsBusy:
                self._report(NoWords(busy=True))
                before = []
            except VivavoceError as error:
                self._report(Failed(error))
                before = []
            except Exception:  # unexpected: the next utterance may succeed
                logger.exception("a recogniser failed")
                self._report(Failed(RecognitionError("What you said could not be recognised.", "Say it again.")))
                before = []
            self._recognising = False
            self._tell_state()

    async def _words_of(self, said: _Said, before: list[Transcript]) -> list[Transcript]:
        """Report the words. Returns the transcripts of an utterance of which more parts follow."""
        assert self._senses is not None
        parts = list(before)
        if said.samples is not None:
            recognition = self._senses.recognition
            parts.append(await (said.early or recognition.transcribe(said.samples, said.language, self._asker)))
        language = next((part.language for part in parts if part.language), "")
        text = ("" if language in _WITHOUT_SPACES else " ").join(part.text for part in parts if part.text)
        if text:
            self._counts.with_words += said.final
            self._report(Words(text, said.final, language))
        elif said.final:
            self._report(NoWords())
        return [] if said.final else parts

    def _tell_state(self) -> None:
        if self._finder.utterance is not None:
            state = EarsState.HEARING
        elif self._recognising or len(self._said):
            state = EarsState.RECOGNISING
        else:
            state = EarsState.OFF if self._mode == "off" else EarsState.LISTENING
        if state is not self._state:
            self._state = state
            self._report(EarsEvent(state))
