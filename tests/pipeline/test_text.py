"""Sentences out of a stream, and in which language they are."""

import random
from collections.abc import Sequence

import pytest

from pipeline.text import MAX_CHARS, OTHER_LANGUAGES, SentenceSplitter, detect_language, load_languages
from pipeline.text.sentences import STEP_CHARS
from tests.little_work import little_work


def split(text: str) -> Sequence[str]:
    splitter = SentenceSplitter()
    return splitter.push(text) + splitter.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello! How are you? I am fine.", ["Hello!", "How are you?", "I am fine."]),
        ("你好！我是小薇。今天天气怎么样？", ["你好！", "我是小薇。", "今天天气怎么样？"]),
        ("OK。你好Hello.世界", ["OK。", "你好Hello.", "世界"]),
        ("no end", ["no end"]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_ends(text: str, sentences: list[str]) -> None:
    """A sentence ends at the punctuation of its language, or with the stream."""
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith met Prof. Lee. They left.", ["Dr. Smith met Prof. Lee.", "They left."]),
        ("J. K. Rowling wrote it. So do I. Then we read.", ["J. K. Rowling wrote it.", "So do I.", "Then we read."]),
        ("He lives in the U.S. Army base, e.g. Fort Bragg.", ["He lives in the U.S. Army base,", "e.g. Fort Bragg."]),
        ("At 5 p.m. We met a Ph.D. Student.", ["At 5 p.m.", "We met a Ph.D. Student."]),
        (
            "See No. 5 and Fig. 3. The answer is no. We stay.",
            ["See No. 5 and Fig. 3.", "The answer is no.", "We stay."],
        ),
        ("It costs 3.14 or 1,250 at 10:30. Good.", ["It costs 3.14 or 1,250 at 10:30.", "Good."]),
        ("See https://a.org/b.c?d=1,2. Then open x.yaml.", ["See https://a.org/b.c?d=1,2.", "Then open x.yaml."]),
        ("approx. five of them. Yes.", ["approx. five of them.", "Yes."]),
        ("Am 3. Oktober kam Prof. Dr. med. Lee. Gut.", ["Am 3. Oktober kam Prof. Dr. med. Lee.", "Gut."]),
        ("А. С. Пушкин жил на ул. Мойка. Да. Я. Ты.", ["А. С. Пушкин жил на ул. Мойка.", "Да.", "Я.", "Ты."]),
        ("डॉ. शर्मा आए। वे बैठे।", ["डॉ. शर्मा आए।", "वे बैठे।"]),
        ("Yes. It is 5 &lt; 6 &gt; 4 then. No.", ["Yes.", "It is 5 &lt; 6 &gt; 4 then.", "No."]),
        ("Τι κάνεις; Καλά.", ["Τι κάνεις;", "Καλά."]),
        ("II. Methods\nIII. Results", ["II. Methods", "III. Results"]),
        ("El EE. UU. es grande. Hay max. 5 personas.", ["El EE. UU. es grande.", "Hay max. 5 personas."]),
        ("جاء د.أحمد. ثم جلس د. علي.", ["جاء د.أحمد.", "ثم جلس د. علي."]),
        ("1. Do this. 2. Do that.", ["1. Do this.", "2. Do that."]),
    ],
)
def test_stops_that_end_nothing(text: str, sentences: list[str]) -> None:
    """Abbreviations, initials, decimals, addresses, file names and list numbers are not cut."""
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Wait... what? OK... Then go.", ["Wait... what?", "OK...", "Then go."]),
        ("我想……不行。", ["我想……不行。"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ('"What?" he asked. “好。”他说。', ['"What?" he asked.', "“好。”", "他说。"]),
        ("« Bonjour. » Il part. »Hallo.« Er geht.", ["« Bonjour. »", "Il part.", "»Hallo.«", "Er geht."]),
        ("他笑了。“好。”“再见！”„Gut.“ Er geht.", ["他笑了。", "“好。”", "“再见！”", "„Gut.“", "Er geht."]),
        ("Really?! Yes!! 好！！对", ["Really?!", "Yes!!", "好！！", "对"]),
    ],
)
def test_ellipses_and_quotes(text: str, sentences: list[str]) -> None:
    """Ellipses go on in lower case; closing quotes and repeated marks stay with their sentence."""
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("# Title\n\nSome text\n- one\n- two", ["# Title", "Some text", "- one", "- two"]),
        ("# Title\nsome text", ["# Title", "some text"]),
        ("It is so.[1][2] And so. [^3] But[4] no.", ["It is so.[1][2]", "And so.", "[^3] But[4] no."]),
        ("Prose that is\nwrapped. Next", ["Prose that is wrapped.", "Next"]),
        ("**Done.** Next *one*. **Two. Three.**", ["**Done.**", "Next *one*.", "**Two.", "Three.**"]),
        ("Look:\n```python\nprint('a. B')\n```\nThat is all.", ["Look:", "That is all."]),
        ("Before ```x. Y``` after. `a.b` is code.", ["Before", "after.", "`a.b` is code."]),
        ("Unclosed ```\ncode. More", ["Unclosed"]),
        ("See [the long, long page, here](http://x.y), now.", ["See [the long, long page, here](http://x.y),", "now."]),
        ("😀 🎉", []),
        ("Great! 😀 Let's go. 😀", ["Great!", "😀 Let's go."]),
    ],
)
def test_markup(text: str, sentences: list[str]) -> None:
    """Lines and paragraphs end sentences, code is dropped, links stay whole, and what has no word is no sentence."""
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Let me check that.The flight leaves at nine.", ["Let me check that.", "The flight leaves at nine."]),
        ("Really?Yes, I do.It's so. That is it.", ["Really?", "Yes, I do.", "It's so.", "That is it."]),
        ("Ja.Они ушли.Он здесь.", ["Ja.", "Они ушли.", "Он здесь."]),
        (
            "It ended in 2019.The next one (so they say).But no.",
            ["It ended in 2019.", "The next one (so they say).", "But no."],
        ),
        ("Open README.MD or Console.WriteLine(x) of www.Example.com now.", None),
        ("It is 3.14 on example.com and in Node.js or in the U.S.A today.", None),
        ("Ask bob@example.Com or a?B=1 then.", None),
        ("It leaves at 9.The gate is 3.He waits.", ["It leaves at 9.", "The gate is 3.", "He waits."]),
        ("He came at 5 p.m.Then he left.", ["He came at 5 p.m.", "Then he left."]),
        (
            "It is in Paris.The site is a.com.They are open.",
            ["It is in Paris.", "The site is a.com.", "They are open."],
        ),
        ("Use Math.Floor of x or the U.S.The or Hello.World now.", None),
        ("So what?Well.", ["So what?", "Well."]),
        ("Great!Done", ["Great!", "Done"]),
        ("¿Qué tal?¡Muy bien!Hola.¿Y tú?", ["¿Qué tal?", "¡Muy bien!", "Hola.", "¿Y tú?"]),
        ("Ça va ?Oui. Tu viens !Bien.", ["Ça va ?", "Oui.", "Tu viens !", "Bien."]),
        ("مرحبا.كيف حالك؟أنا بخير.شكرا", ["مرحبا.", "كيف حالك؟", "أنا بخير.", "شكرا"]),
        ("वह आए.वह बैठे।ठीक", ["वह आए.", "वह बैठे।", "ठीक"]),
        ("नमस्ते.आप कैसे हैं?ठीक है.", ["नमस्ते.", "आप कैसे हैं?", "ठीक है."]),
        ("வணக்கம்.நன்றி சொல்.", ["வணக்கம்.", "நன்றி சொல்."]),
        (
            "Wow!!Great. I like it!!No way. Is it?!Yes it is.",
            ["Wow!!", "Great.", "I like it!!", "No way.", "Is it?!", "Yes it is."],
        ),
        ("Done.[1]Next one. That.**But** no.", ["Done.[1]", "Next one.", "That.**", "But** no."]),
        ("If a!!B or c??D in x.[1]Y then", None),
    ],
)
def test_sentences_without_a_space_between(text: str, sentences: list[str] | None) -> None:
    """Some models leave it out; files, addresses, numbers and names in code have none either, and stay whole."""
    assert split(text) == (sentences or [text])


@pytest.mark.parametrize(
    "sentences",
    [
        ["नमस्ते।", "आप कैसे हैं?", "ठीक।"],
        ["আমি ভালো আছি।", "আপনি?"],
        ["مرحبا.", "كيف حالك؟", "أنا بخير."],
        ["یہ اچھا ہے۔", "ٹھیک۔"],
        ["Բարեւ։", "Ինչպես ես։"],
        ["ሰላም።", "እንዴት ነህ፧", "ደህና።"],
        ["សួស្តី។", "តើអ្នក។"],
        ["မင်္ဂလာပါ။", "နေကောင်းလား။"],
        ["გამარჯობა.", "როგორ ხარ?", "კარგად ვარ."],
        ["བཀྲ་ཤིས།", "བདེ་ལེགས།"],
        ["שלום.", "מה שלומך?"],
        ["「はい。」", "彼は言った。"],
        ["“好。”", "他说：“走吧！”", "然后呢？"],
        ["สวัสดีครับ ผมชื่อสมชาย", "และผมเป็นผู้ช่วย"],
    ],
)
def test_marks_of_other_scripts(sentences: list[str]) -> None:
    """Each script is cut at its own marks, closing quotes included; Thai, which has none, at its spaces."""
    assert split(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Look:\n~~~py\nx = 1. Y\n~~~\nThat is all.", ["Look:", "That is all."]),
        ("Look:\n```\ns = '```'\n```\nThat is all.", ["Look:", "That is all."]),
        ("````\n```\nx. Y\n```\n````\nAfter", ["After"]),
        ("~~~~\n~~~\nx. Y\n~~~~\nAfter", ["After"]),
        ("> ```\n> x. Y\n> ```\n> after it", ["> after it"]),
        ("So \\begin{cases} a. B \\\\ c \\end{cases} holds. Yes.", ["So holds.", "Yes."]),
        ("A \\begin{quote} is it. Yes.", ["A \\begin{quote} is it.", "Yes."]),
        ("哈哈~~~好的。", ["哈哈~~~好的。"]),
        ("So \\[ a = b. C \\] holds. Yes.", ["So a = b. C holds.", "Yes."]),
        ("So $$\\sum_{i=1}^n i$$ holds. Yes.", ["So holds.", "Yes."]),
        ("It is \\( never closed. Yes", ["It is \\( never closed.", "Yes"]),
        ("The value $f(x, y)$ is it.", ["The value $f(x, y)$ is it."]),
    ],
)
def test_blocks(text: str, sentences: list[str]) -> None:
    """Code and formulas of their own lines are no sentences, and swallow none; what never ends was no block."""
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("held", "given"),
    [
        ("One moment please.", True),
        ("It is so.[1]", True),
        ("Really?", True),
        ('He said "Stop."', True),
        ("好的。", True),
        ("ठीक।", True),
        ("It costs 3.", False),
        ("Ask Dr.", False),
        ("See no.", False),
        ("in the U.S.", False),
        ("e.g.", False),
        ("One moment", False),
        ("See [this page.", False),
        ("", False),
    ],
)
def test_a_pause_gives_what_has_ended(held: str, given: bool) -> None:
    """A sentence that is surely whole need not wait for the next word; one that may go on does."""
    splitter = SentenceSplitter()
    splitter.push(held)
    assert splitter.has_ended == given
    assert splitter.pause() == ([held] if given else [])
    assert splitter.flush() == ([] if given or not held else [held])


def test_what_is_seen_as_one_character_is_not_split() -> None:
    """Accents, emoji of several parts and flags stay whole where a text without spaces is cut."""
    for cluster in (
        "e\u0301",
        "\U0001f469\u200d\U0001f467",
        "\U0001f1e9\U0001f1ea",
        "\u0e01\u0e34",
        "\u1112\u1161\u11ab",
    ):
        for shift in range(4):
            sentences = split("x" * shift + (cluster + "y") * 300)
            assert all(cluster + "y" in sentence[:8] or sentence[0] in "xy" for sentence in sentences), cluster
            assert "".join(sentences) == "x" * shift + (cluster + "y") * 300


@pytest.mark.parametrize(
    "text", ["word " * 40_000, "x" * 200_000, "!" * 50_000, "\\(" * 20_000, "a.A" * 30_000, "``" * 20_000]
)
def test_what_is_held_is_bounded(text: str) -> None:
    """However long and odd a stream is, little of it is held, so that each step costs the same."""
    splitter = SentenceSplitter()
    for at in range(0, len(text), 1000):
        splitter.push(text[at : at + 1000])
        assert len(splitter._held) + len(splitter._formula) + len(splitter._fence_line) < 1200


@pytest.mark.parametrize("seed", range(10))
def test_sentences_tell_how_much_of_the_stream_they_cover(seed: int) -> None:
    """Cut at these places the stream falls into the sentences again, with what was dropped between them."""
    chance = random.Random(seed)
    words = ["Yes. ", "no ", "3.14 ", "that.The ", "好。", "(so), ", "```x. Y``` ", "😀 ", "\n\n", "# A\n", "$$x$$ "]
    stream = "".join(chance.choices(words, k=60))
    splitter = SentenceSplitter()
    start = 0
    for sentence in splitter.push(stream) + splitter.flush():
        raw = stream[start : sentence.end]
        assert sentence.split()[-1][-3:] in raw + "x", (sentence, raw)
        start = sentence.end


def test_first_sentence_is_early() -> None:
    """The first sentence is cut at a clause once more than ten characters are held, later ones are not."""
    assert split("Well, I think so, and that is it, really.") == ["Well, I think so,", "and that is it, really."]
    assert split("欢迎来到这里，请坐，喝茶。") == ["欢迎来到这里，", "请坐，喝茶。"]


def test_first_sentence_comes_before_the_stream_ends() -> None:
    """A sentence is given as soon as the character after it is known."""
    splitter = SentenceSplitter()
    assert splitter.push("Good morning.") == []
    assert splitter.push(" H") == ["Good morning."]
    assert splitter.flush() == ["H"]


def test_long_sentences_are_cut_at_clauses() -> None:
    """A later sentence of more than 120 characters ends at its next clause."""
    clause = "and the story goes on and on, "
    sentences = split("Yes. " + clause * 10)
    assert len(sentences) == 3
    assert all(sentence.endswith("on,") for sentence in sentences[1:])


@pytest.mark.parametrize("text", ["word " * 100, "a" * 1000, "好" * 450, "Yes. " + "好，" * 200])
def test_nothing_is_longer_than_the_limit(text: str) -> None:
    """Text without punctuation is cut between words, and in the end anywhere; nothing is lost."""
    sentences = split(text)
    assert max(map(len, sentences)) <= MAX_CHARS
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence.endswith("word") for sentence in sentences if "word" in sentence)


STREAM = (
    '# Hi\n\nHello, world! It\'s 3.14, e.g. Dr. Who said "No." Then... he left.\n- one\n- two\n'
    "It is 9.The end.So what?Well. ¿Y?¡Sí!شكرا.نعم\n"
    "```py\nx = 1. Y\n```\nSee [a, b. C](https://a.b/c.d) or `x.y`. 你好，世界……不行！“好。”他说。😀 "
    + "long words, "
    * 30
)


@pytest.mark.parametrize("seed", range(5))
def test_any_split_of_the_stream_gives_the_same(seed: int) -> None:
    """However a stream is split ("hel|lo| |w|orld"), the sentences are the same."""
    chance = random.Random(seed)
    splitter = SentenceSplitter()
    sentences, at = [], 0
    while at < len(STREAM):
        length = chance.randint(0, 1 + 3 * seed)
        sentences += splitter.push(STREAM[at : at + length])
        at += length
    assert sentences + splitter.flush() == split(STREAM)


def test_flushed_splitter_is_as_new() -> None:
    """After flush() the next answer begins with an early first sentence again."""
    splitter = SentenceSplitter()
    first = splitter.push("Well, I think so, and on. ```code") + splitter.flush()
    assert splitter.push("Well, I think so, and on.") + splitter.flush() == first


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello there", "en"),
        ("你好，世界", "zh"),
        ("我用 Python 写 code", "zh"),
        ("iPhone 15 Pro Max 很好", "zh"),
        ("I like 北京 very much", "en"),
        ("こんにちは世界", "ja"),
        ("日本語です", "ja"),
        ("안녕하세요", "ko"),
        ("Привет, мир", "ru"),
        ("Γειά σου", "el"),
        ("שלום עולם", "he"),
        ("مرحبا", "ar"),
        ("नमस्ते", "hi"),
        ("สวัสดี", "th"),
        ("σ is small", "en"),
    ],
)
def test_language_by_script(text: str, language: str) -> None:
    """The script of most words tells the language; a few foreign words do not change it."""
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["OK.", "Sure.", "Nice!", "So do I.", "And a", "Hi Maria!", "print x", "word word word word"]),
        ("en", ["The café in Zürich is great.", "Angela Merkel met Emmanuel Macron.", "Bonjour means hello."]),
        ("en", ["I like Barcelona and Real Madrid.", "Open main.py in VS Code.", "Play Despacito by Luis Fonsi."]),
        ("en", ["Dr. Smith met Prof. Lee.", "Vivavoce GmbH", "MuseTalk 1.5", "5 kg", "x²", "Done."]),
        ("de", ["Guten Morgen, wie geht es dir?", "Das ist gut.", "Ich habe das Meeting gecancelt."]),
        ("es", ["Hola, ¿cómo estás?", "No lo sé.", "Uso Python y Docker todos los días.", "Gracias"]),
        ("fr", ["C'est déjà l'été.", "Je ne sais pas.", "J'utilise Python et Docker."]),
        ("it", ["Il treno parte alle nove.", "Ciao, come stai?"]),
        ("pt", ["Olá, tudo bem com você?", "Muito obrigado"]),
        ("nl", ["Ik weet het niet."]),
        ("pl", ["Dzień dobry, jak się masz?"]),
        ("tr", ["Bugün hava çok güzel.", "Bilmiyorum."]),
        ("vi", ["Xin chào, bạn khỏe không?", "Cảm ơn bạn"]),
        ("id", ["Saya tidak tahu."]),
        ("sv", ["Jag vet inte."]),
        ("nb", ["Jeg vet ikke hva jeg skal si."]),
        ("uk", ["Привіт, як справи?"]),
        ("fa", ["سلام، حال شما چطور است؟"]),
        ("mr", ["तुम्ही कसे आहात"]),
    ],
)
def test_languages_of_one_script_are_told_apart(language: str, sentences: list[str]) -> None:
    """Short sentences of many languages; English with names and foreign words stays English."""
    assert [detect_language(sentence) for sentence in sentences] == [language] * len(sentences)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Labdien, kā jums klājas?", "lv"),
        ("Labas, kaip sekasi šiandien?", "lt"),
        ("Tere, kuidas sul täna läheb?", "et"),
        ("Përshëndetje, si jeni?", "sq"),
        ("Góðan daginn, hvernig hefur þú það?", "is"),
        ("Bore da, sut ydych chi heddiw?", "cy"),
        ("Kaixo, zer moduz zaude gaur?", "eu"),
        ("Habari yako? Mimi ni msaidizi wako.", "sw"),
        ("Kumusta ka? Ako ang iyong katulong.", "tl"),
        ("Salam, necəsiniz? Mən sizin köməkçinizəm.", "az"),
        ("Здраво, како сте данас? Ја сам помоћник.", "sr"),
        ("Прывітанне, як справы?", "be"),
        ("Сәлеметсіз бе, қалыңыз қалай?", "kk"),
        ("سلام، تاسو څنګه یاست؟", "ps"),
    ],
)
def test_languages_that_nobody_speaks_are_recognised(text: str, language: str) -> None:
    """Else a voice of the same letters would read them with the sounds of another language, and say nothing of it."""
    assert detect_language(text) == language
    assert language in OTHER_LANGUAGES


def test_greetings_are_in_the_language_of_who_greets() -> None:
    """Too short to be told by their letters, they are known; a call or question that is opened by a mark is Spanish."""
    greetings = {"Hallo!": "de", "Bom dia!": "pt", "¡Hola!": "es", "Merci.": "fr", "“Ciao”": "it", "Oui…": "fr"}
    greetings |= {"Kein Problem.": "de", "Come va?": "it", "Bra, tack.": "sv", "Nem tudom.": "hu", "Até logo!": "pt"}
    greetings |= {"¿Y tú?": "es", "¡Vamos, Ana!": "es", "D’accord.": "fr", "Merhaba": "tr", "Tack!": "sv"}
    assert {greeting: detect_language(greeting) for greeting in greetings} == greetings
    english = ["Hello!", "Hallo means hello.", "Say merci!", "Pasta.", "La la la.", "Hotel.", "Tom, ciao means bye."]
    assert {detect_language(sentence) for sentence in english} == {"en"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("আমি ভালো আছি", "bn"),
        ("வணக்கம்", "ta"),
        ("ሰላም", "am"),
        ("Բարեւ", "hy"),
        ("ಹಲೋ", "kn"),
        ("សួស្តី", "km"),
        ("ᏣᎳᎩ", "und"),
    ],
)
def test_every_script_is_some_language(text: str, language: str) -> None:
    """No letters pass for "nothing to say", not even those of which nothing is known here."""
    assert detect_language(text) == language


def test_language_of_no_letters() -> None:
    """A text without letters has the language of its surroundings."""
    assert detect_language("3.14", default="zh") == "zh"


def test_only_the_languages_that_are_asked_for_are_kept_in_memory() -> None:
    """Half of what the model takes is for the others: nothing of them is left, not even aside."""
    languages = load_languages()
    asked = set(languages.labels)
    languages.set_languages(None)
    assert set(languages.labels) == asked and {"en", "de", "no", "uk"} <= asked and "vo" not in asked


@pytest.mark.parametrize("unit", ["{![1][…{…", '."', "\\[", "![1]\\[{![1]*![1][…{…[1]!", "A.", "~~~ ", "! "])
def test_a_text_of_signs_is_cut_in_many_small_steps(unit: str) -> None:
    """So others have their turn in between. No sign makes the splitter look at all of the text before it."""
    text = (unit * 10_000)[:10_000]
    with little_work():
        steps = list(SentenceSplitter().steps(text))
    assert len(steps) >= len(text) / STEP_CHARS


def test_what_is_no_formula_after_all_is_cut_in_small_steps_too() -> None:
    """It is looked at a second time, as text."""
    begun = "\\[ " + "word " * 100
    splitter = SentenceSplitter()
    steps = list(splitter.steps(begun))
    assert len(steps) > 1.5 * len(begun) / STEP_CHARS
    assert " ".join([sentence for step in steps for sentence in step] + splitter.flush()).split() == begun.split()
