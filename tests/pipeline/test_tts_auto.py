"""The choice of a voice by language and reach."""

from collections.abc import AsyncGenerator

import numpy as np
import pytest
from fake_edge import FakeEdge

from pipeline.clock import ManualClock
from pipeline.errors import BackendUnavailable, LanguageNotSupported, SpeechError
from pipeline.tts.auto import RECHECK_S, AutoSynthesizer
from pipeline.tts.edge import EdgeSynthesizer
from pipeline.types import AudioChunk

EDGE_VOICE = "en-US-GuyNeural"


class OfflineVoice:
    """Speaks one or two languages: a chunk of ones."""

    sample_rate = 24_000
    streaming = False
    phoneme_timing = True
    online_voices: frozenset[str] = frozenset()

    def __init__(self, name: str, languages: set[str], *voices: str) -> None:
        self.name = name
        self.languages = frozenset(languages)
        self.voices = voices
        self.spoken: list[tuple[str, str | None]] = []
        self.loads = 0
        self.is_broken = False
        self.closed = 0

    def load(self) -> None:
        self.loads += 1
        if self.is_broken:
            raise BackendUnavailable(self.name, "its program does not run")

    async def synthesize(self, text: str, voice: str | None = None) -> AsyncGenerator[AudioChunk, None]:
        self.spoken.append((text, voice))
        yield AudioChunk(np.ones(240, np.float32), 24_000, final=True)

    async def aclose(self) -> None:
        self.closed += 1


class House:
    """An auto voice with everything behind it."""

    def __init__(self, fake: FakeEdge) -> None:
        self.fake = fake
        self.offline = OfflineVoice("offline", {"en"}, "heart", "emma")
        self.german = OfflineVoice("plain", {"de", "en"}, "hans")
        self.clock = ManualClock()
        self.online = EdgeSynthesizer(fake.speaking, fake.reach)
        self.auto = AutoSynthesizer([self.offline, self.german], self.online, self.clock)

    async def say(self, text: str, voice: str | None = None) -> list[AudioChunk]:
        return [chunk async for chunk in self.auto.synthesize(text, voice)]


async def test_english_is_spoken_here() -> None:
    """An English sentence is spoken offline; the network is not even asked."""
    house = House(FakeEdge())
    (chunk,) = await house.say("Hello")
    assert chunk.final
    assert house.offline.spoken == [("Hello", None)]
    assert house.fake.probes == 0


async def test_chinese_is_spoken_online() -> None:
    """A Chinese sentence is spoken by the online voice, where it can be reached."""
    house = House(FakeEdge())
    assert (await house.say("你好"))[-1].final
    assert house.fake.spoken == [("你好", "zh-CN-XiaoxiaoNeural")]
    assert house.offline.spoken == []


async def test_chinese_offline_is_a_plain_notice() -> None:
    """Without a network a Chinese sentence is refused before its first chunk, in English, with the remedy."""
    house = House(FakeEdge(is_reachable=False))
    with pytest.raises(LanguageNotSupported) as caught:
        await house.say("你好")
    assert "speaks Chinese" in caught.value.message
    assert "connect to the network" in caught.value.hint
    assert str(caught.value).isascii()
    assert house.offline.spoken == house.fake.spoken == []


async def test_language_of_no_voice() -> None:
    """A language that neither speaks is refused without asking the network."""
    house = House(FakeEdge())
    house.online.languages = frozenset({"en", "zh"})
    with pytest.raises(LanguageNotSupported, match="Greek"):
        await house.say("Γειά σου")
    assert house.fake.probes == 0


async def test_reach_is_remembered_for_a_while() -> None:
    """The network is asked once a minute, not for each sentence, and its return is noticed."""
    house = House(FakeEdge(is_reachable=False))
    for _ in range(3):
        with pytest.raises(LanguageNotSupported):
            await house.say("你好")
    assert house.fake.probes == 1
    assert house.auto.languages == {"en", "de"}
    house.fake.is_reachable = True
    await house.clock.advance(RECHECK_S)
    await house.say("你好")
    assert house.fake.probes == 2
    assert "zh" in house.auto.languages


async def test_online_failure_falls_back_for_english() -> None:
    """If the online voice that was asked for fails before its first chunk, English is spoken offline instead."""
    house = House(FakeEdge(failure=OSError("cut")))
    (chunk,) = await house.say("Hello", EDGE_VOICE)
    assert chunk.final
    assert house.fake.spoken == [("Hello", EDGE_VOICE)]
    assert house.offline.spoken == [("Hello", None)]
    await house.say("Again", EDGE_VOICE)
    assert len(house.fake.spoken) == 1


async def test_one_sentence_that_fails_does_not_mute_the_others() -> None:
    """After a failure the network is looked for again, and the next sentence, which only it can speak, is tried."""
    house = House(FakeEdge())
    await house.say("你好")
    house.fake.failure = OSError("cut")
    with pytest.raises(SpeechError, match="was cut"):
        await house.say("第二句")
    house.fake.failure = None
    assert (await house.say("第三句"))[-1].final
    assert [text for text, _voice in house.fake.spoken] == ["你好", "第二句", "第三句"]


async def test_who_speaks_is_said() -> None:
    """Chunks carry the name of the voice, so that a substitute can be named."""
    house = House(FakeEdge())
    assert {chunk.voice for chunk in await house.say("你好", "emma")} == {"zh-CN-XiaoxiaoNeural"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("আমি ভালো আছি", "Bengali"),
        ("Je ne sais pas.", "French"),
        ("Bugün hava çok güzel.", "Turkish"),
        ("Բարեւ", "Armenian"),
    ],
)
async def test_no_language_is_read_with_the_sounds_of_another(text: str, language: str) -> None:
    """Offline, what is not English is refused by its name, whatever its script."""
    house = House(FakeEdge(is_reachable=False))
    with pytest.raises(LanguageNotSupported, match=language):
        await house.say(text)
    assert house.offline.spoken == []


async def test_online_failure_in_mid_sentence_is_told() -> None:
    """After the first chunk nothing is said twice: the error is told."""
    house = House(FakeEdge(after="die"))
    with pytest.raises(SpeechError, match="cut"):
        await house.say("A sentence that is long enough.", EDGE_VOICE)
    assert house.offline.spoken == []


async def test_online_failure_without_another_voice_is_told() -> None:
    """A Chinese sentence that the online voice fails on is an error with its cause."""
    with pytest.raises(SpeechError, match="was cut"):
        await House(FakeEdge(failure=OSError("cut"))).say("你好")


async def test_voices() -> None:
    """A voice is handed to whom it belongs to; others use their default."""
    house = House(FakeEdge())
    assert house.auto.voices[0] == "heart"
    await house.say("Hello", "emma")
    await house.say("你好", "emma")
    await house.say("Hello", EDGE_VOICE)
    assert house.offline.spoken == [("Hello", "emma")]
    assert house.fake.spoken == [("你好", "zh-CN-XiaoxiaoNeural"), ("Hello", EDGE_VOICE)]
    with pytest.raises(SpeechError, match="no voice 'x'"):
        await house.say("Hello", "x")


async def test_describe() -> None:
    """It says which voice speaks a language, as far as is known."""
    house = House(FakeEdge())
    assert house.auto.describe("en") == "offline"
    assert house.auto.describe("en", "emma") == "offline (emma)"
    assert house.auto.describe("zh") == ""
    await house.say("你好")
    assert house.auto.describe("zh", "zh-CN-YunxiNeural") == "edge (zh-CN-YunxiNeural)"


async def test_closes_both() -> None:
    """Closing it closes what is behind it."""
    house = House(FakeEdge())
    await house.auto.aclose()
    assert house.offline.closed == house.german.closed == 1


GERMAN = "Ich weiß es nicht."


async def test_without_a_network_another_voice_of_this_machine_speaks() -> None:
    """German goes to the online voice where that can be reached, else to the voice here that speaks German."""
    house = House(FakeEdge(is_reachable=False))
    assert (await house.say(GERMAN, "heart"))[-1].final
    assert house.german.spoken == [(GERMAN, None)]
    assert house.offline.spoken == []
    online = House(FakeEdge())
    await online.say(GERMAN)
    assert [text for text, _voice in online.fake.spoken] == [GERMAN]
    assert online.german.spoken == []


async def test_a_voice_of_this_machine_that_was_chosen_keeps_the_text_here() -> None:
    """Who chooses an offline voice has nothing sent to a service, in no language that this voice speaks."""
    house = House(FakeEdge())
    await house.say(GERMAN, "hans")
    await house.say("Hello there", "hans")
    assert house.german.spoken == [(GERMAN, "hans"), ("Hello there", "hans")]
    assert house.fake.probes == 0


async def test_each_part_of_a_mixed_sentence_goes_to_a_voice_that_can_read_it() -> None:
    """Without a network a Chinese sentence with Latin words is spoken by two voices, as one sentence at one rate."""
    house = House(FakeEdge(is_reachable=False))
    chinese = OfflineVoice("chinese", {"zh"}, "lan")
    house.auto = AutoSynthesizer([house.offline, chinese], house.online, house.clock)
    chunks = await house.say("我用 iPhone 15 Pro 打电话，很好。", "emma")
    assert chinese.spoken == [("我用 ", None), ("打电话，很好。", None)]
    assert house.offline.spoken == [("iPhone 15 Pro ", "emma")]
    assert [chunk.final for chunk in chunks] == [False, False, False, True]
    assert [chunk.start_sample for chunk in chunks] == [0, 240, 480, 720]


async def test_a_foreign_word_that_nobody_can_say_is_left_out() -> None:
    """The rest of the sentence is spoken."""
    house = House(FakeEdge(is_reachable=False))
    chunks = await house.say("I like 北京 very much, and you?")
    assert [text for text, _voice in house.offline.spoken] == ["I like ", "very much, and you?"]
    assert chunks[-1].final


async def test_an_online_voice_gets_a_mixed_sentence_whole() -> None:
    """It reads foreign words itself."""
    house = House(FakeEdge())
    await house.say("我用 iPhone 打电话。")
    assert [text for text, _voice in house.fake.spoken] == ["我用 iPhone 打电话。"]
    assert house.offline.spoken == []


async def test_a_voice_that_does_not_load_is_replaced() -> None:
    """Voices of this machine are loaded at the start; one that cannot be leaves its sentences to the others for now."""
    house = House(FakeEdge())
    house.german.is_broken = True
    house.auto.load()
    assert (await house.say("Hello there", "hans"))[-1].final
    assert house.offline.spoken == [("Hello there", None)]
    house.german.is_broken = False
    await house.say("Hello again", "hans")
    await house.say("And again", "hans")
    assert (house.offline.loads, house.german.loads) == (1, 3)


async def test_without_the_offline_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only one of the two is installed it does what it can; with neither it says what to install."""

    def missing() -> None:
        raise BackendUnavailable("hibari")

    monkeypatch.setattr("pipeline.tts.auto.registry.backend_class", lambda _kind, _name: missing)
    fake = FakeEdge()
    auto = AutoSynthesizer(online=EdgeSynthesizer(fake.speaking, fake.reach))
    assert [chunk async for chunk in auto.synthesize("Hello")][-1].final
    assert fake.spoken == [("Hello", "en-US-AriaNeural")]
    monkeypatch.setattr("pipeline.tts.auto.EdgeSynthesizer", missing)
    with pytest.raises(BackendUnavailable, match="pip install"):
        AutoSynthesizer()


async def test_speed_goes_to_whoever_speaks() -> None:
    """The online voice is asked for the speed; a voice of this machine that has one speed is not."""
    house = House(FakeEdge())
    for text in ("你好", "Hello there"):
        assert [chunk async for chunk in house.auto.synthesize(text, None, 1.5)][-1].final
    assert house.fake.speeds == [1.5]
    assert house.offline.spoken == [("Hello there", None)]
    assert house.auto.speeds == (0.5, 2.0)
