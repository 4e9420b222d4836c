"""The conversation as a language model gets it."""

import random

import pytest

from pipeline.history import MESSAGE_CHARACTERS, Exchange, History
from pipeline.types import Message


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_messages_alternate(seed: int) -> None:
    """Questions, answers, corrections and failures in any order: user first, then in turn, and within the bound."""
    chance = random.Random(seed)
    history, bound = History(2_000), 2_000
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
        assert sum(len(message.content) for message in messages) <= bound + 500
        assert all(message.content for message in messages)


def test_a_question_without_an_answer_joins_the_next() -> None:
    """What was asked before a word was heard is not lost; asked again, it stands there once."""
    history = History(1_000)
    for question in ("Weather?", "Weather?", "In Rome."):
        history.ask(question)
    assert history.messages() == (Message("user", "Weather?\n\nIn Rome."),)


def test_the_oldest_are_forgotten_first_and_in_pairs() -> None:
    """Beyond the bound an exchange goes whole, so that the rest still begins with a question."""
    history = History(3 * (20 + 2 * MESSAGE_CHARACTERS))
    for number in range(9):
        history.answer(history.ask(f"question {number}"), f"answer {number}..")
    assert [message.content for message in history.messages()][::2] == ["question 6", "question 7", "question 8"]


def test_a_question_larger_than_the_bound_is_still_asked() -> None:
    """The newest question is always there, alone if need be."""
    history = History(100)
    history.answer(history.ask("before"), "answer")
    history.ask("x" * 1_000)
    assert history.messages() == (Message("user", "x" * 1_000),)


def test_an_earlier_conversation_is_gone_on_with() -> None:
    """Whatever a page tells, messages alternate and begin with the user; the bound holds for it too."""
    history = History(1_000)
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
    assert sum(len(message.content) for message in history.messages()) <= 1_000
