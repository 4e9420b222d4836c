"""Every code that a viewer can meet has its cause and remedy in Chinese; both languages agree where both have words."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import avatars
import models
import pipeline
import portal
from avatars.signatures import NOT_TAKEN, TEXTS
from models.errors import kinds_of_errors
from portal.ui.error_texts import ERROR_TEXTS
from portal.ui.talk_text import TALK_TEXTS
from portal.ui.text import DESK_TEXTS

ROOT = Path(__file__).parents[2]
LAYERS = (portal, pipeline, avatars, models)
DERIVED = re.compile(r"^class \w+\((?:\w+Error\):|.*\bcode=)", re.MULTILINE)
TELLS_A_CODE = {
    "error_response",
    "JobFailed",
    "JobFailure",
    "NoticeEvent",
    "ErrorEvent",
}
"what takes a code: as its first argument, or by its name"
OPERATORS_ONLY = {"address_taken", "bad_settings", "folder_not_writable", "worker_left_out"}
"told on the command line"
TOLD_ELSEWHERE = (
    OPERATORS_ONLY
    | {"avatar_error", "bad_import", "bad_media", "bad_parameters", "request_timeout", "unsupported_media"}
    | {
        "database_taken",
        "database_unreachable",
        "erasure_unfinished",
        "face_finder_missing",
        "job_not_found",
        "job_unfinished",
        "no_real_mouths",
        "recording_not_found",
        "render_failed",
        "session_not_found",
        "upload_too_large",
        "voice_sample_not_found",
    }
    | {"no_real_mouths", "download_failed", "weights_damaged", "weights_error", "weights_missing", "wrong_architecture"}
)
"""Codes of classes that no session socket tells: of uploads, jobs, weights and requests."""


def of_classes() -> Iterator[str]:
    """Of every error class of ours, wherever it is defined."""
    for layer in LAYERS:
        for module in pkgutil.walk_packages(layer.__path__, f"{layer.__name__}."):
            source = _source(module.name)
            if "error" in module.name or DERIVED.search(source):
                importlib.import_module(module.name)
    yield from (one.code for one in kinds_of_errors())


def _source(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    file = path.with_suffix(".py")
    return (file if file.exists() else path / "__init__.py").read_text(encoding="utf-8")


def of_calls() -> Iterator[str]:
    """Written where they are told, in Python."""
    for layer in LAYERS:
        for file in (ROOT / layer.__name__).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                told = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                told += node.args[:1] if name in TELLS_A_CODE else []
                for value in told:
                    if isinstance(value, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)*", str(value.value)):
                        yield str(value.value)


def of_scripts() -> Iterator[str]:
    """Written in the page's scripts."""
    for file in (ROOT / "portal" / "static").rglob("*.js"):
        if "vendor" not in file.parts:
            source = file.read_text(encoding="utf-8")
            yield from re.findall(r"\bcode: \"(\w+)\"", source)
    errors = (ROOT / "portal" / "static" / "errors.js").read_text(encoding="utf-8")
    yield from re.findall(r"\d{3}: \"(\w+)\"", errors)


def test_every_code_is_told_in_chinese() -> None:
    """Of error classes, of what is told by its code in Python and in scripts."""
    found = {*of_classes(), *of_calls(), *of_scripts()} - OPERATORS_ONLY
    assert {"no_face", "worker_died", "nothing_spoken", "no_picture", "gateway", "foreign_origin"} <= found
    lacking = {code for code in found for kind in ("error", "hint") if f"{kind}.{code}" not in ERROR_TEXTS["zh"]}
    assert not lacking


def of_causes() -> Iterator[str]:
    """`code.cause` of every error that says which of several things it is, wherever it is raised."""
    assert list(of_classes())  # imports what defines them
    codes = {kind.__name__: kind.code for kind in kinds_of_errors()}
    for layer in LAYERS:
        for file in (ROOT / layer.__name__).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                code = codes.get(getattr(node.func, "id", "")) if isinstance(node, ast.Call) else None
                for keyword in node.keywords if code else ():  # type: ignore[attr-defined]
                    told = ast.walk(keyword.value) if keyword.arg == "cause" else ()
                    causes = [str(one.value) for one in told if isinstance(one, ast.Constant)]
                    of_sound = file.name in (
                        "sound.py",
                        "confined.py",
                        "pieces.py",
                    )  # `portal.intake.uploads` gives another code
                    of_files = file.name != "sound.py"
                    yield from (f"{code}.{cause}" for cause in causes if of_files)
                    yield from (f"unsupported_media.{cause}" for cause in causes if of_sound)
    yield from (f"bad_media.{cause}" for *_rest, cause in (*NOT_TAKEN, *TEXTS))


def test_every_cause_is_told_in_chinese() -> None:
    """Where one code stands for several things, Chinese names each with its remedy, as the server's English does."""
    found = set(of_causes())
    assert {
        "bad_media.document",
        "bad_media.empty",
        "unsupported_media.silent",
        "no_face.none",
        "no_face.too_few",
    } <= found
    assert {"bad_import.encrypted", "bad_request.consent", "too_many.jobs", "at_capacity.line"} <= found
    told = {key.removeprefix("error.") for key in ERROR_TEXTS["zh"] if re.fullmatch(r"error\.\w+\.\w+", key)}
    assert told == found
    assert all(f"hint.{one}" in ERROR_TEXTS["zh"] for one in told)


def test_the_protocol_names_every_code_of_the_socket_once() -> None:
    """docs/protocol.md lists each code of an error class, but for those told elsewhere, and none that there is not."""
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = page.partition("### Error codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    listed = [code for row in rows for code in re.findall(r"`(\w+)`", row)]
    assert len(listed) == len(set(listed)) > 15
    known = {*of_classes(), *of_calls()}
    assert set(listed) <= known
    assert set(of_classes()) - set(listed) == TOLD_ELSEWHERE


def test_both_tables_of_the_page_have_them() -> None:
    """A code is told alike on all tabs, in both languages."""
    for texts in (TALK_TEXTS, DESK_TEXTS):
        for language, told in ERROR_TEXTS.items():
            assert told.items() <= texts[language].items()


def test_no_chinese_text_is_an_english_sentence() -> None:
    """Each cause and each remedy is Chinese; what English has too, Chinese has."""
    for key, text in ERROR_TEXTS["zh"].items():
        assert re.search(r"[\u4e00-\u9fff]", text), key
        assert not re.search(r"[A-Za-z]+ [a-z]+ [a-z]+ [a-z]+", re.sub(r"`[^`]*`|launch\.py \w+", "", text)), key
    assert ERROR_TEXTS["en"].keys() <= ERROR_TEXTS["zh"].keys()
