"""Detects the language of a sentence: by its script, and by py3langid where several languages share one.

py3langid's model is part of its package (4.6 MB, BSD), needs only numpy, and takes 0.2 ms per sentence.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

__all__ = [
    "LANGUAGE_NAMES",
    "OTHER_LANGUAGES",
    "detect_language",
    "language_name",
    "language_of_script",
    "load_languages",
    "split_by_script",
]

LANGUAGE_NAMES = {
    "am": "Amharic",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "lo": "Lao",
    "ml": "Malayalam",
    "mr": "Marathi",
    "my": "Burmese",
    "nb": "Norwegian",
    "ne": "Nepali",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "si": "Sinhala",
    "sk": "Slovak",
    "sv": "Swedish",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Languages that some voice speaks: ISO 639-1 code -> English name."""
OTHER_LANGUAGES = {
    "af": "Afrikaans",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "cy": "Welsh",
    "eo": "Esperanto",
    "et": "Estonian",
    "eu": "Basque",
    "fo": "Faroese",
    "ga": "Irish",
    "gl": "Galician",
    "ha": "Hausa",
    "ht": "Haitian Creole",
    "is": "Icelandic",
    "jv": "Javanese",
    "kk": "Kazakh",
    "ky": "Kyrgyz",
    "la": "Latin",
    "lb": "Luxembourgish",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mk": "Macedonian",
    "mn": "Mongolian",
    "ms": "Malay",
    "mt": "Maltese",
    "or": "Odia",
    "pa": "Punjabi",
    "ps": "Pashto",
    "sl": "Slovenian",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "sw": "Swahili",
    "tg": "Tajik",
    "tl": "Filipino",
    "tt": "Tatar",
    "ug": "Uyghur",
    "uz": "Uzbek",
    "xh": "Xhosa",
    "yo": "Yoruba",
    "zu": "Zulu",
}
"""Languages that no voice speaks, or only a robotic one. They are detected, so that no other voice reads them."""
_LATIN = frozenset(
    {"en", "de", "es", "fr", "it", "pt", "nl", "pl", "tr", "vi", "id", "sv", "da", "nb", "fi", "cs", "hu", "ro"}
    | {"sk", "hr", "ca"}
)
_OTHERS = {
    "en": frozenset(
        {
            "af",
            "az",
            "cy",
            "eo",
            "et",
            "eu",
            "fo",
            "ga",
            "gl",
            "ha",
            "ht",
            "is",
            "jv",
            "la",
            "lb",
            "lt",
            "lv",
            "mg",
            "ms",
        }
        | {"mt", "sl", "so", "sq", "sw", "tl", "uz", "xh", "yo", "zu"}
    ),
    "ru": frozenset({"be", "kk", "ky", "mk", "mn", "sr", "tg", "tt"}),
    "ar": frozenset({"ps", "ug"}),
}
_SHARED = {
    "en": _LATIN,
    "ru": frozenset({"ru", "uk", "bg"}),
    "ar": frozenset({"ar", "fa", "ur"}),
    "hi": frozenset({"hi", "mr", "ne"}),
}
"""The script's usual language -> the languages written in it that have a voice."""
_SURE = 0.35
_SURER_THAN_USUAL, _SURER_THAN_ENGLISH = 3, 10
"""A sentence counts as the script's usual language unless another one has this probability, and is so many times more
probable. Short sentences are ambiguous ("OK.", "Maria!"), and English is what the voice here speaks."""
_ENOUGH_CHARACTERS, _SURER_THAN_SPOKEN = 12, 20
"""A sentence of so many characters counts as a language without a voice if that is so many times more probable than
any language with one. None of the 11,000 English clauses in this project's documents is taken for such a language."""
_SHORT_PHRASES = {
    "de": "kein problem|bis später|bis bald|alles gut|los geht's|wie geht's|hallo|guten tag|"
    "moin|servus|danke|danke schön|danke sehr|bitte|bitte schön|tschüss|ja|nein|alles klar|genau",
    "es": "vale|hasta mañana|lo siento|muy bien|buenos días|"
    "hola|buenas|adiós|gracias|de nada|por favor|sí|claro|hasta luego",
    "fr": "merci bien|qui es-tu|ça va|très bien|bien sûr|bonsoir|à bientôt|"
    "bonjour|salut|coucou|merci|merci beaucoup|au revoir|oui|non|d'accord|bonne nuit|de rien|enchanté",
    "it": "come va|a presto|molto bene|"
    "ciao|buongiorno|buonasera|grazie|grazie mille|prego|perfetto|certo|arrivederci|sì|va bene",
    "pt": "até logo|até amanhã|muito bem|olá|bom dia|boa tarde|boa noite|obrigado|obrigada|tchau|não|tudo bem",
    "nl": "alsjeblieft|tot ziens|natuurlijk|hoi|goedendag|goedemorgen|dank je|dank u|bedankt|doei",
    "sv": "bra, tack|vi ses|hej då|hej|hejdå|tack|tack så mycket|god morgon",
    "da": "god morgen|goddag|tak|mange tak|farvel",
    "fi": "hei hei|kiitos|kyllä|ole hyvä",
    "pl": "cześć|dzień dobry|dziękuję|dzięki|tak jest|dobranoc",
    "cs": "ahoj|dobrý den|děkuji|děkuju|díky",
    "tr": "merhaba|selam|teşekkürler|teşekkür ederim|evet|hayır|tamam",
    "hu": "nem tudom|jó reggelt|viszlát|nem|szia|köszönöm|jó napot|igen",
    "id": "selamat pagi|terima kasih|selamat malam",
    "ro": "la revedere|bună dimineața|bună|mulțumesc|bună ziua",
}
"""Greetings and thanks, which are too short for the model: it takes "Hallo!" for Italian. A phrase of several languages
is assigned to the one with the most speakers. None of them is an English sentence."""
_LANGUAGE_OF_PHRASE = {phrase: code for code, phrases in _SHORT_PHRASES.items() for phrase in phrases.split("|")}
_AROUND_PHRASE = " \t\n.,;:!?¡¿…\"'“”„«»()*"
_SPANISH_MARKS = re.compile("[¡¿]")
_SCRIPTS = re.compile(
    "(?P<zh>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|(?P<ja>[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f])"
    "|(?P<ko>[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e])"
    "|(?P<ru>[\u0400-\u052f]+)|(?P<el>[\u0370-\u03ff\u1f00-\u1fff]{2,})|(?P<hy>[\u0530-\u058f]+)|(?P<he>[\u0590-\u05ff]+)"
    "|(?P<ar>[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]+)|(?P<hi>[\u0900-\u097f]+)|(?P<bn>[\u0980-\u09ff]+)"
    "|(?P<pa>[\u0a00-\u0a7f]+)|(?P<gu>[\u0a80-\u0aff]+)|(?P<or>[\u0b00-\u0b7f]+)|(?P<ta>[\u0b80-\u0bff]+)"
    "|(?P<te>[\u0c00-\u0c7f]+)|(?P<kn>[\u0c80-\u0cff]+)|(?P<ml>[\u0d00-\u0d7f]+)|(?P<si>[\u0d80-\u0dff]+)"
    "|(?P<th>[\u0e00-\u0e7f]+)|(?P<lo>[\u0e80-\u0eff]+)|(?P<bo>[\u0f00-\u0fff]+)|(?P<my>[\u1000-\u109f]+)"
    "|(?P<ka>[\u10a0-\u10ff\u1c90-\u1cbf]+)|(?P<am>[\u1200-\u139f]+)|(?P<km>[\u1780-\u17ff]+)"
    "|(?P<en>[A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff\u0300-\u036f]+(?:['’][A-Za-z]+)?)"
    "|(?P<einai>[\u0370-\u03ff])|(?P<und>[^\\W\\d_\u00b5\u02b0-\u02ff\u2070-\u218f]+)"
)
"""One group per script, named by its usual language. A single Greek letter is a symbol in a formula."""
_NO_LANGUAGE = frozenset({"einai"})
_CJK_SHARE = 0.4
"""Share of Chinese among (Chinese characters + words) from which a mixed sentence counts as Chinese: "I like 北京 very
much" is English, "iPhone 15 Pro Max 很好" is Chinese."""
_KANA_SHARE = 0.1


def detect_language(text: str, default: str = "en") -> str:
    """Return the ISO 639-1 code; "und" for a script whose languages are not known here.

    default: returned for a text without letters.
    """
    script = language_of_script(text, default)
    candidates, others = _SHARED.get(script), _OTHERS.get(script, frozenset())
    if candidates is None or not any(map(str.isalpha, text)):
        return script
    if script == "en":
        phrase = text.strip(_AROUND_PHRASE).lower().replace("’", "'")
        if phrase in _LANGUAGE_OF_PHRASE:
            return _LANGUAGE_OF_PHRASE[phrase]
        if _SPANISH_MARKS.search(text):  # only Spanish opens questions and exclamations with a mark
            return "es"
    words = " ".join(dict.fromkeys(text.split()))  # a repeated word is no further evidence
    ranked = {_code(name): float(share) for name, share in load_languages().rank(words)}
    shares = {code: share for code, share in ranked.items() if code in candidates}
    other = max(others, key=ranked.__getitem__, default=None)
    if other and len(words) >= _ENOUGH_CHARACTERS and ranked[other] > _SURER_THAN_SPOKEN * max(shares.values()):
        return other
    likely = max(shares, key=shares.__getitem__)
    surer = _SURER_THAN_ENGLISH if script == "en" else _SURER_THAN_USUAL
    is_sure = shares[likely] > max(_SURE * sum(shares.values()), surer * shares[script])
    return likely if is_sure else script


def language_name(code: str) -> str:
    """Return the language's English name, for use within a sentence."""
    return LANGUAGE_NAMES.get(code) or OTHER_LANGUAGES.get(code, "this language")


def language_of_script(text: str, default: str = "en") -> str:
    """Return the usual language of the script that dominates the text; "en" for Latin letters. Loads nothing."""
    counts: dict[str, int] = {}
    for match in _SCRIPTS.finditer(text):
        script = match.lastgroup or default
        if script not in _NO_LANGUAGE:
            counts[script] = counts.get(script, 0) + 1
    if not counts:
        return default
    total = sum(counts.values())
    cjk = {script: counts.get(script, 0) for script in ("zh", "ja", "ko")}
    if sum(cjk.values()) >= _CJK_SHARE * total:
        if cjk["ko"] > max(cjk["zh"], cjk["ja"]):
            return "ko"
        return "ja" if cjk["ja"] >= max(1, _KANA_SHARE * (cjk["zh"] + cjk["ja"])) else "zh"
    words = {script: count for script, count in counts.items() if script not in cjk}
    return max(words, key=words.__getitem__)


def split_by_script(text: str, languages: Collection[str]) -> list[tuple[bool, str]]:
    """Split the text into parts: whether a voice that speaks `languages` can read the part's letters, and the part.

    Readable and unreadable parts alternate. Digits, blanks and punctuation belong to the letters before them or, at the
    beginning, to those after.
    """
    parts: list[tuple[bool, str]] = []
    at = 0
    for match in _SCRIPTS.finditer(text):
        script = match.lastgroup or ""
        readable = script in _NO_LANGUAGE or not _SHARED.get(script, frozenset({script})).isdisjoint(languages)
        if not parts:
            parts.append((readable, ""))
        elif parts[-1][0] != readable:
            parts[-1] = (parts[-1][0], parts[-1][1] + text[at : match.start()])
            parts.append((readable, ""))
            at = match.start()
        parts[-1] = (readable, parts[-1][1] + text[at : match.end()])
        at = match.end()
    if not parts:
        return [(True, text)]
    parts[-1] = (parts[-1][0], parts[-1][1] + text[at:])
    return parts


@lru_cache(maxsize=1)
def load_languages() -> LanguageIdentifier:
    """Load py3langid's model, once, before a sentence needs it. It takes half a second.

    Of its table, only the columns of the languages used here are kept.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    every = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    every.set_languages(sorted({"no"}.union(*_SHARED.values(), *_OTHERS.values()) - {"nb"}))
    return LanguageIdentifier(
        every.nb_ptc,
        every.nb_pc,
        every.nb_classes,
        every.tk_nextmove,
        every.tk_output,
        norm_probs=True,
        tk_row=every.tk_row,
    )


def _code(name: str) -> str:
    """Return our code for a language of the model. Norwegian voices speak Bokmål."""
    return "nb" if name == "no" else name
