"""Prepares text for a voice: cuts sentences, removes what cannot be spoken, detects the language. All pure."""

from pipeline.text.languages import (
    LANGUAGE_NAMES,
    OTHER_LANGUAGES,
    detect_language,
    language_name,
    language_of_script,
    load_languages,
    split_by_script,
)
from pipeline.text.scripts import is_cjk
from pipeline.text.sentences import MAX_CHARS, SentenceSplitter
from pipeline.text.speech import speakable

__all__ = [
    "LANGUAGE_NAMES",
    "MAX_CHARS",
    "OTHER_LANGUAGES",
    "SentenceSplitter",
    "detect_language",
    "is_cjk",
    "language_name",
    "language_of_script",
    "load_languages",
    "speakable",
    "split_by_script",
]
