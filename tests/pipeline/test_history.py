"""The conversation as a language model gets it."""

import random

import pytest

from pipeline.history import MESSAGE_TOKENS, Exchange, History, tokens_of
from pipeline.types import Message


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_messages_alternate(seed: int) -> None:
    """Questions, answers, corrections and failures in any order: user first, then in turn, and within the bound."""
    chance = random.Random(seed)
    history, bound = History(670), 670
    asked: list[Exchange] = []
    for number in range(300):
        match chance.randrange(4):
            case 0 | 1:
                question = f"question {number} " + "x" * chance.randrange(400)
                asked.append(history.ask(question))
                last = history.messages()[-1]
                assert last.role == "user" and last.content.endswith(question)
            case 2 if asked:
                history.answer(asked[-1], "y" * chance.randrange(3_000))
            case 3 if asked:
                history.forget(asked.pop())
        messages = history.messages()
        assert [message.role for message in messages] == [("user", "assistant")[i % 2] for i in range(len(messages))]
        assert sum(tokens_of(message.content) for message in messages) <= bound + 170
        assert all(message.content for message in messages)


def test_a_question_without_an_answer_joins_the_next() -> None:
    """What was asked before a word was heard is not lost; asked again, it stands there once."""
    history = History(333)
    for question in ("Weather?", "Weather?", "In Rome."):
        history.ask(question)
    assert history.messages() == (Message("user", "Weather?\n\nIn Rome."),)


def test_the_oldest_are_forgotten_first_and_in_pairs() -> None:
    """Beyond the bound an exchange goes whole, so that the rest still begins with a question."""
    history = History(3 * (2 * 4 + 2 * MESSAGE_TOKENS))
    for number in range(9):
        history.answer(history.ask(f"question {number}"), f"answer {number}..")
    assert [message.content for message in history.messages()][::2] == ["question 6", "question 7", "question 8"]


def test_a_question_larger_than_the_bound_is_still_asked() -> None:
    """The newest question is always there, alone if need be."""
    history = History(33)
    history.answer(history.ask("before"), "answer")
    history.ask("x" * 1_000)
    assert history.messages() == (Message("user", "x" * 1_000),)


def test_of_a_question_larger_than_the_bound_the_end_is_stored() -> None:
    """It is written again each time something is said; the language model still gets the whole of it."""
    history = History(100)
    asked = history.ask("x" * 5000 + "?")
    assert history.kept({asked: "I see."}) == (Message("user", "x" * 299 + "?"), Message("assistant", "I see."))
    assert history.messages()[0].content == "x" * 5000 + "?"


def test_an_earlier_conversation_is_gone_on_with() -> None:
    """Whatever a page tells, messages alternate and begin with the user; the bound holds for it too."""
    history = History(333)
    told = [
        ("assistant", "stray"),
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("assistant", "More."),
        ("user", "Unheard"),
    ]
    history.recall(Message(role, content) for role, content in told)
    history.ask("Now?")
    assert history.messages() == (
        Message("user", "Hi"),
        Message("assistant", "Hello! More."),
        Message("user", "Unheard\n\nNow?"),
    )
    history.recall(Message(("user", "assistant")[n % 2], "x" * 100) for n in range(200))
    assert sum(tokens_of(message.content) for message in history.messages()) <= 333


def test_chinese_fills_the_bound_as_fast_as_a_tokenizer_does() -> None:
    """A Chinese character is about one token, a Latin letter a quarter to a third: the same bound holds fewer."""
    kept = {}
    for language, question in (("en", "a" * 60), ("zh", "天" * 60)):
        history = History(1_000)
        for _ in range(100):
            history.answer(history.ask(question), "")
            history.answer(history.ask(question), question)
        kept[language] = sum(len(message.content) for message in history.messages() if message.role == "assistant")
    assert 2 <= kept["en"] / kept["zh"] <= 3


def test_of_a_long_answer_whole_characters_are_kept() -> None:
    """The end of a very long answer stays, and no character of three bytes is cut in two."""
    history = History(30)
    history.answer(history.ask("?"), "天气" * 100)
    assert history.messages()[-1].content == "… " + ("天气" * 100)[-15:]
