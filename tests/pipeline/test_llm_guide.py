"""The offline guide and the echo."""

import pytest

from pipeline.llm import guide
from pipeline.llm.echo import EchoLanguageModel
from pipeline.llm.guide import LOOKED_AT, GuideLanguageModel
from pipeline.llm.guide_topics import GREETINGS, TOPICS, Topic
from pipeline.text import SentenceSplitter, detect_language, speakable
from pipeline.types import Message


async def ask(question: str) -> str:
    return "".join([piece async for piece in GuideLanguageModel().stream([Message("user", question)])])


@pytest.mark.parametrize(
    ("question", "mentions"),
    [
        ("Hello!", "offline guide"),
        ("Who are you?", "no language model"),
        ("What can you do?", "interrupt"),
        ("How do I connect Ollama?", "--llm-base-url http://127.0.0.1:11434/v1"),
        ("Can I upload my own photo?", "Avatars tab"),
        ("How do I rename my avatar?", "Press Rename"),
        ("Can I change the name of an avatar?", "Press Rename"),
        ("How do I crop my photo?", "A part of it"),
        ("There are two people in my picture, what now?", "A part of it"),
        ("Can I use only a part of the picture?", "A part of it"),
        ("What is the frame rate?", "WebRTC"),
        ("How can I interrupt you?", "Press Interrupt"),
        ("Which languages do you speak?", "English"),
        ("Is it private?", "stays on this machine"),
        ("Why does it fall back from WebRTC?", "WebSocket"),
        ("Who made you?", "Apache"),
        ("Can I export a video?", "Studio"),
        ("Thank you so much", "welcome"),
        ("bye", "Goodbye"),
        ("How are you?", "I am well"),
        ("你好", "离线向导"),
        ("Tell me how you work.", "mouth shapes"),
        ("How does this work?", "mouth shapes"),
        ("你能做什么？", "打断"),
        ("怎么接入大模型？", "--llm openai"),
        ("我想上传自己的照片", "“数字人”页"),
        ("怎么给数字人改名？", "重命名"),
        ("我想换一个名字", "重命名"),
        ("照片里有两个人怎么办？", "其中一部分"),
        ("怎么裁剪照片？", "其中一部分"),
        ("怎么换一个数字人形象？", "拖进去"),
        ("你会说中文吗？", "在线语音"),
        ("再见", "再见"),
    ],
)
async def test_questions(question: str, mentions: str) -> None:
    """The guide answers questions about Vivavoce in the language of the question."""
    answer = await ask(question)
    assert mentions in answer
    assert detect_language(speakable(answer)) == detect_language(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "Hello, where is Rome in Italy?",
        "What language do they speak in Brazil?",
        "",
        "??",
    ],
)
async def test_unknown(question: str) -> None:
    """What the guide does not know it says so, instead of making something up."""
    assert (await ask(question)).startswith("I cannot answer that.")


async def test_unknown_in_chinese() -> None:
    """A Chinese question without an answer is declined in Chinese."""
    assert (await ask("法国的首都是哪里？")).startswith("这个我回答不了。")


@pytest.mark.parametrize("topic", [*TOPICS, *GREETINGS], ids=lambda topic: topic.answer.en[:24])
def test_answers_can_be_spoken(topic: Topic) -> None:
    """Every answer is short plain sentences; commands stand in code, which is not read out."""
    for answer in (topic.answer.en, topic.answer.zh):
        splitter = SentenceSplitter()
        sentences = splitter.push(answer) + splitter.flush()
        assert 1 <= len(sentences) <= 5
        assert all("python" not in sentence and speakable(sentence) for sentence in sentences)


async def test_streams_word_by_word() -> None:
    """The answer comes in words and characters, as a language model would give it."""
    for question in ("Hello!", "你好"):
        pieces = [piece async for piece in GuideLanguageModel().stream([Message("user", question)])]
        assert len(pieces) > 10
        assert max(map(len, pieces)) < 20


async def test_echo_repeats() -> None:
    """The echo repeats the last thing the user said, to the letter."""
    messages = [Message("user", "old"), Message("assistant", "x"), Message("user", " Hello,\n  你好 world ")]
    assert "".join([piece async for piece in EchoLanguageModel().stream(messages)]) == messages[-1].content


async def test_of_a_long_question_only_so_much_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked stands at the beginning or at the end. Others wait while the guide looks at it."""
    looked_at: list[int] = []
    find = guide._find
    monkeypatch.setattr(guide, "_find", lambda question: looked_at.append(len(question)) or find(question))
    filling = "la " * 3000
    assert "Press Rename" in await ask("How do I rename my avatar? " + filling)
    assert "Press Rename" in await ask(filling + "How do I rename my avatar?")
    assert max(looked_at) <= 2 * LOOKED_AT + 1
