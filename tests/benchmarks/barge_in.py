"""What makes the avatar stop, measured in a simulated room: `python -m tests.benchmarks.barge_in [--minutes 10]`.

The canceller, the voice activity network and the rules of interruption are the product's. The room is ours: a delay, an
echo of -12 dB with 0.2 s of reverberation, a loudspeaker that is slightly not linear, and noise of -60 dBFS. Voices are
made by `hibari` on the spot. Noises are synthesised here, seeded (NOISES), because no package has recordings of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import soxr

from pipeline.clock import ManualClock
from pipeline.ears.barge_in import Avatar, BargeIn, Reaction
from pipeline.ears.canceller import WebRtcCanceller
from pipeline.ears.faster_whisper import FasterWhisper
from pipeline.ears.reference import EchoReference
from pipeline.ears.silero import SileroVad
from pipeline.ears.utterance import SHORTEST_SPEECH_S, WINDOW_SAMPLES, Step, UtteranceFinder
from pipeline.tts.hibari import HibariSynthesizer
from pipeline.types import FPS, LISTEN_RATE_HZ, PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE, FloatArray, MediaFrame

DELAYS_S = (0.04, 0.1, 0.2, 0.3, 0.4)
ECHO = 0.25  # -12 dB
PIECE = LISTEN_RATE_HZ // 50
ANSWER = (
    "Vivavoce makes a talking avatar from one photo. It listens while it speaks, so you can interrupt it at any time.",
    "Of course! Let me think about that for a moment. The shortest way is through the old town, past the market.",
    "In eighteen sixty-five, a surveyor named Everest had already left India; the mountain was named after him anyway.",
    "Wait, there is more: the second half of the story is even better, and it begins with a very small dog.",
)
QUESTIONS = (
    "Stop, please, that is enough for now.",
    "Can you tell me something else instead?",
    "No, that is not what I wanted to know.",
    "Where did you say the market was?",
    "Hold on, I have another question.",
    "What happened to the dog in the end?",
)
BLACK = np.zeros((2, 2, 3), np.uint8)


async def _spoken(voice: HibariSynthesizer, texts: Sequence[str], name: str, rate_hz: int) -> list[FloatArray]:
    spoken = []
    for text in texts:
        chunks = [chunk.samples async for chunk in voice.synthesize(text, name)]
        samples = soxr.resample(np.concatenate(chunks), voice.sample_rate, rate_hz).astype(np.float32)
        spoken.append(samples * (0.1 / np.sqrt(np.mean(np.square(samples)))))
    return spoken


def _reverberation(random: np.random.Generator) -> FloatArray:
    times = np.arange(LISTEN_RATE_HZ // 5)
    room = random.standard_normal(len(times)) * np.exp(-times / 600) * 0.05
    room[0] = 0.6
    return (room / np.sqrt(np.sum(np.square(room)))).astype(np.float32)


@dataclass
class Listener:
    """The ears of one session in a room, without tasks: time is that of the samples."""

    vad: SileroVad
    delay_s: float
    clock: ManualClock = field(default_factory=lambda: ManualClock(10.0))
    reactions: list[tuple[Reaction, float]] = field(default_factory=list)
    utterances: list[FloatArray] = field(default_factory=list)
    "those that a recogniser would be asked about"

    async def listen(self, avatar: FloatArray, viewer: FloatArray, random: np.random.Generator) -> None:
        """avatar: what is released, at 48 kHz. viewer: what somebody in the room says, at 16 kHz."""
        reference = EchoReference(self.clock, lambda: self.delay_s)
        canceller = WebRtcCanceller(reference)
        stream, finder, rules = self.vad.stream(), UtteranceFinder(1.2), BargeIn()
        microphone = self._microphone(avatar, viewer, random)
        held = np.zeros(0, np.float32)
        sounded = number = 0
        for index in range(len(microphone) // PIECE):
            now_s = (index + 1) * PIECE / LISTEN_RATE_HZ
            while number / FPS <= now_s:
                frame = avatar[number * SAMPLES_PER_PICTURE : (number + 1) * SAMPLES_PER_PICTURE]
                await self._until(number / FPS)
                reference.send(MediaFrame(BLACK, np.pad(frame, (0, SAMPLES_PER_PICTURE - len(frame))), number))
                sounded += 1
                number += 1
            await self._until(now_s)
            piece = microphone[index * PIECE : (index + 1) * PIECE]
            held = np.concatenate([held, canceller.cancel(piece, self.clock.now_s())])
            while len(held) >= WINDOW_SAMPLES:
                window, held = held[:WINDOW_SAMPLES], held[WINDOW_SAMPLES:]
                step = finder.push(window, stream.push(window))
                for reaction in self._react(rules, finder, step, sounded / FPS, now_s):
                    self.reactions.append((reaction, now_s))

    def count(self, *reactions: Reaction) -> int:
        return sum(reaction in reactions for reaction, _ in self.reactions)

    async def _until(self, time_s: float) -> None:
        await self.clock.advance(max(0.0, 10.0 + time_s - self.clock.now_s()))

    def _microphone(self, avatar: FloatArray, viewer: FloatArray, random: np.random.Generator) -> FloatArray:
        played = np.tanh(1.3 * soxr.resample(avatar, PLAYOUT_RATE_HZ, LISTEN_RATE_HZ)) / 1.3
        echo = ECHO * np.convolve(played, _reverberation(random))[: len(played)]
        echo = np.pad(echo, (round(self.delay_s * LISTEN_RATE_HZ), 0))[: len(played)]
        said = np.zeros(len(played))
        said[: len(viewer)] = viewer[: len(played)]
        return (echo + said + random.normal(0, 1e-3, len(played))).astype(np.float32)

    def _react(
        self, rules: BargeIn, finder: UtteranceFinder, step: Step, sounded_s: float, now_s: float
    ) -> Iterator[Reaction]:
        utterance = finder.utterance
        found: list[Reaction | None] = [rules.passes(now_s)]
        if utterance is not None and step is not Step.NOTHING:
            if step is Step.BEGAN:
                rules.speech_began(Avatar.SPEAKING, sounded_s, now_s)
            if step in (Step.BEGAN, Step.GOES_ON):
                found.append(rules.speech_goes_on(Avatar.SPEAKING, sounded_s, utterance.speech_s, now_s))
            elif step in (Step.SILENT, Step.LONG):
                ended = finder.take()
                if ended is not None and ended.speech_s >= SHORTEST_SPEECH_S:
                    self.utterances.append(ended.samples())
                found += [rules.speech_ended(now_s), rules.no_words()]
        return (reaction for reaction in found if reaction is not None)


# -- noises: of each kind six, with other pitches, lengths and levels


def _shaped(samples: FloatArray, attack_s: float, decay_s: float) -> FloatArray:
    times = np.arange(len(samples)) / LISTEN_RATE_HZ
    return (samples * np.minimum(1, times / attack_s) * np.exp(-times / decay_s)).astype(np.float32)


def _band(random: np.random.Generator, seconds: float, low_hz: float, high_hz: float) -> FloatArray:
    spectrum = np.fft.rfft(random.standard_normal(round(seconds * LISTEN_RATE_HZ)))
    hz = np.fft.rfftfreq(round(seconds * LISTEN_RATE_HZ), 1 / LISTEN_RATE_HZ)
    noise = np.fft.irfft(spectrum * ((hz > low_hz) & (hz < high_hz)), round(seconds * LISTEN_RATE_HZ))
    return (noise / np.abs(noise).max()).astype(np.float32)


def _cough(random: np.random.Generator) -> FloatArray:
    bursts = [_shaped(_band(random, random.uniform(0.2, 0.35), 200, random.uniform(2500, 5000)), 0.01, 0.08)]
    while len(bursts) < 2 * random.integers(1, 3):
        bursts += [np.zeros(round(random.uniform(0.05, 0.2) * LISTEN_RATE_HZ), np.float32), bursts[0] * 0.8]
    return np.concatenate(bursts)


def _sneeze(random: np.random.Generator) -> FloatArray:
    return np.concatenate(
        [_shaped(_band(random, 0.3, 300, 2000), 0.25, 1.0), _shaped(_band(random, 0.4, 500, 7000), 0.005, 0.1)]
    )


def _click(random: np.random.Generator) -> FloatArray:
    return _shaped(_band(random, 0.05, 1000, 7500), 0.0005, 0.006)


def _keys(random: np.random.Generator) -> FloatArray:
    pressed = []
    for _ in range(25):
        pressed += [
            _click(random) * random.uniform(0.3, 1),
            np.zeros(round(random.uniform(0.04, 0.25) * LISTEN_RATE_HZ), np.float32),
        ]
    return np.concatenate(pressed)


def _door(random: np.random.Generator) -> FloatArray:
    return _shaped(_band(random, 0.8, 40, random.uniform(250, 500)), 0.003, 0.15)


def _clap(random: np.random.Generator) -> FloatArray:
    claps = [
        np.pad(_shaped(_band(random, 0.12, 800, 4000), 0.001, 0.02), (0, 4000)) for _ in range(random.integers(1, 6))
    ]
    return np.concatenate(claps)


def _chair(random: np.random.Generator) -> FloatArray:
    times = np.arange(LISTEN_RATE_HZ) / LISTEN_RATE_HZ
    squeak = np.sign(np.sin(2 * np.pi * np.cumsum(random.uniform(300, 500) + 150 * times) / LISTEN_RATE_HZ))
    return _shaped((0.5 * squeak * _band(random, 1.0, 100, 3000)).astype(np.float32), 0.1, 0.5)


def _hum(random: np.random.Generator) -> FloatArray:
    times = np.arange(3 * LISTEN_RATE_HZ) / LISTEN_RATE_HZ
    return (
        0.3 * sum(np.sin(2 * np.pi * 50 * k * times) / k for k in range(1, 9)) + 0.1 * _band(random, 3.0, 50, 3000)
    ).astype(np.float32)


def _music(random: np.random.Generator) -> FloatArray:
    notes = []
    for _ in range(16):
        root = 110 * 2 ** (random.integers(0, 24) / 12)
        times = np.arange(LISTEN_RATE_HZ // 4) / LISTEN_RATE_HZ
        chord = sum(np.sin(2 * np.pi * root * ratio * k * times) / k for ratio in (1, 1.26, 1.5) for k in range(1, 5))
        notes.append(_shaped(np.asarray(chord / 6, np.float32), 0.01, 0.3))
    return np.concatenate(notes)


def _drums(random: np.random.Generator) -> FloatArray:
    beats = []
    for beat in range(16):
        sound = _door(random)[:4000] if beat % 2 == 0 else _clap(random)[:4000]
        beats.append(np.pad(sound, (0, 4000 - len(sound))))
    return np.concatenate(beats)


NOISES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "cough": _cough,
    "sneeze": _sneeze,
    "click": _click,
    "keys": _keys,
    "door": _door,
    "clap": _clap,
    "chair": _chair,
    "hum": _hum,
    "music": _music,
    "drums": _drums,
}


@dataclass
class Found:
    """What was measured; `lines` says it in words, with what is behind it."""

    minutes: float = 0.0
    "of talk in which the avatar heard itself"
    echo_holds: int = 0
    noises: int = 0
    noises_held: int = 0
    noises_stopped: int = 0
    "for good: words were found in them"
    interruptions: int = 0
    waits_ms: list[float] = field(default_factory=list)
    "from the first sound of each interruption until the avatar was held"
    lines: list[str] = field(default_factory=list)


async def own_echo(vad: SileroVad, answer: FloatArray, minutes: float, found: Found) -> None:
    """How often its own sound makes the avatar stop."""
    for number, delay_s in enumerate(DELAYS_S):
        random = np.random.default_rng(number)
        listener = Listener(vad, delay_s)
        repeats = int(np.ceil(minutes * 60 / len(DELAYS_S) * PLAYOUT_RATE_HZ / len(answer)))
        spent_s = time.process_time()
        sound = np.tile(answer, repeats)
        await listener.listen(sound, np.zeros(0, np.float32), random)
        cpu = (time.process_time() - spent_s) / (len(sound) / PLAYOUT_RATE_HZ)
        held, ducked = listener.count(Reaction.HOLD), listener.count(Reaction.DUCK)
        asked = len(listener.utterances)
        found.minutes += len(sound) / PLAYOUT_RATE_HZ / 60
        found.echo_holds += held
        found.lines.append(
            f"echo after {1000 * delay_s:3.0f} ms, {len(sound) / PLAYOUT_RATE_HZ / 60:.1f} min: held {held}, "
            f"ducked {ducked}, recogniser asked {asked}; CPU {cpu:.1%} of a core with the room"
        )


async def noises(vad: SileroVad, answer: FloatArray, found: Found) -> None:
    """How often a noise stops the answer for good: where the recogniser finds words in it."""
    recognizer = FasterWhisper()
    recognizer.load()
    ducked = 0
    for (name, make), number in itertools.product(NOISES.items(), range(6)):
        random = np.random.default_rng([number, len(name), ord(name[0])])
        noise = make(random) * random.choice([0.1, 0.25, 0.6])
        listener = Listener(vad, DELAYS_S[number % len(DELAYS_S)])
        viewer = np.concatenate([np.zeros(4 * LISTEN_RATE_HZ, np.float32), noise])
        await listener.listen(answer[: 12 * PLAYOUT_RATE_HZ], viewer, random)
        words = [(await recognizer.transcribe(one, "en")).text for one in listener.utterances]
        said = [text for text in words if text]
        found.noises += 1
        found.noises_held += bool(listener.count(Reaction.HOLD))
        ducked += bool(listener.count(Reaction.DUCK))
        found.noises_stopped += bool(said)
        if listener.reactions or said:
            found.lines.append(f"  {name} {number}: {[reaction.name for reaction, _ in listener.reactions]} {said}")
    found.lines.append(
        f"{found.noises} noises: stopped for good {found.noises_stopped}, held and resumed {found.noises_held}, "
        f"quieter for a moment {ducked}"
    )
    await recognizer.aclose()


async def interruptions(vad: SileroVad, answer: FloatArray, questions: Sequence[FloatArray], found: Found) -> None:
    """How long after its first sound somebody's speech holds the avatar."""
    for delay_s, question in itertools.product(DELAYS_S, questions):
        random = np.random.default_rng(round(1000 * delay_s))
        listener = Listener(vad, delay_s)
        begins = int(np.flatnonzero(np.abs(question) > 0.02)[0])
        start_s = random.uniform(5, 7)
        viewer = np.concatenate([np.zeros(round(start_s * LISTEN_RATE_HZ), np.float32), question])
        await listener.listen(answer[: 12 * PLAYOUT_RATE_HZ], viewer, random)
        sounds_s = start_s + begins / LISTEN_RATE_HZ
        found.interruptions += 1
        found.waits_ms += [
            1000 * (at_s - sounds_s)
            for reaction, at_s in listener.reactions
            if reaction is Reaction.HOLD and at_s > start_s
        ][:1]
    waits_ms = found.waits_ms
    found.lines.append(
        f"{found.interruptions} interruptions: held {len(waits_ms)}, after {np.median(waits_ms):.0f} ms in the median, "
        f"{np.percentile(waits_ms, 90):.0f} ms at the 90th percentile, {max(waits_ms):.0f} ms at most"
    )


async def measure(minutes: float, parts: Sequence[str]) -> Found:
    found = Found()
    vad, voice = SileroVad(), HibariSynthesizer()
    vad.load()
    voice.load()
    avatar, viewer = voice.voices[0], voice.voices[-1]
    pause = np.zeros(PLAYOUT_RATE_HZ // 3, np.float32)
    spoken = await _spoken(voice, ANSWER, avatar, PLAYOUT_RATE_HZ)
    answer = np.concatenate([part for sentence in spoken for part in (sentence, pause)])
    if "echo" in parts:
        await own_echo(vad, answer, minutes, found)
    if "interruptions" in parts:
        questions = await _spoken(voice, QUESTIONS, viewer, LISTEN_RATE_HZ)
        await interruptions(vad, answer, questions, found)
    if "noises" in parts:
        await noises(vad, answer, found)
    await voice.aclose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of talk that the avatar may hear itself in")
    parser.add_argument("--only", nargs="+", choices=("echo", "interruptions", "noises"))
    arguments = parser.parse_args()
    found = asdict(asyncio.run(measure(arguments.minutes, arguments.only or ("echo", "interruptions", "noises"))))
    sys.stdout.write("\n".join([*found.pop("lines"), json.dumps(found)]) + "\n")


if __name__ == "__main__":
    main()
