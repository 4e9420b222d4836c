"""Avatars in the HTTP API, over a real library and queue, with no worker about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from avatars.bundle import AvatarBundle
from avatars.mattes import Mattes, MattesMaker
from avatars.parts import parts_path
from portal.jobs.orders import order_of_clip, order_of_parts
from portal.jobs.queue import JobQueue
from tests.portal.api_requests import error_of
from tests.portraits import plain_parts

pytestmark = pytest.mark.thorough


def test_the_person_of_an_avatar_can_be_had_alone(
    client: TestClient, make_bundle: Callable[..., AvatarBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its mattes are known there are URLs of them and of a still with alpha; elsewhere there are none.

    The still is made once.
    """
    bundle = make_bundle("ada")
    (plain,) = client.get("/api/avatars").json()
    assert (plain["mattes"], plain["cutout"]) == (None, None)
    for missing in ("mattes.bin", "cutout.webp"):
        error_of(client.get(f"/api/avatars/ada/{missing}"), 404)
    maker = MattesMaker()
    for _ in range(bundle.frame_count):
        maker.add(np.zeros((bundle.height, bundle.width), np.uint8))
    data = maker.made(bundle.frame(0)).to_bytes(bundle.loop)
    bundle.mattes_path.write_bytes(data)
    (avatar,) = client.get("/api/avatars").json()
    assert client.get(avatar["mattes"]).content == data
    still = client.get(avatar["cutout"])
    assert still.headers["content-type"] == "image/webp"
    shown = cv2.imdecode(np.frombuffer(still.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown is not None and shown[..., 3].max() == 0
    monkeypatch.setattr(Mattes, "still", lambda *_given: pytest.fail("made again"))
    assert client.get(avatar["cutout"]).content == still.content
    assert sorted(path.name for path in bundle.path.glob("*cutout*")) == ["cutout.webp"]


def test_avatars_are_listed_shown_and_deleted(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """The gallery has names and URLs that work; a deleted avatar is gone."""
    make_bundle("ada")
    (avatar,) = client.get("/api/avatars").json()
    assert (avatar["id"], avatar["name"], avatar["preview"]) == ("ada", "Ada", None)
    poster = client.get(avatar["poster"])
    assert poster.status_code == 200 and poster.headers["content-type"] == "image/jpeg"
    assert client.get("/api/avatars/ada").json() == avatar
    error_of(client.get("/api/avatars/ada/preview.mp4"), 404)
    assert client.delete("/api/avatars/ada").status_code == 204
    error_of(client.delete("/api/avatars/ada"), 404)
    assert client.get("/api/avatars").json() == []


def test_jobs_of_a_deleted_avatar_are_cancelled(
    client: TestClient, queue: JobQueue, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """Nothing goes on being made for an avatar that is gone."""
    make_bundle("ada")
    parts = queue.submit(order_of_parts("ada", "Ada", "wav2lip96", {}))
    clip = queue.submit(order_of_clip(avatar="ada", text="hello"))
    assert client.delete("/api/avatars/ada").status_code == 204
    told = [client.get(f"/api/jobs/{job.id}").json() for job in (parts, clip)]
    assert [(job["state"], job["retryable"], job["gone"]) for job in told] == [("cancelled", False, "avatar")] * 2


def test_an_avatar_tells_for_which_backends_it_is_prepared(
    client: TestClient, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """`prepared` names backends with what was used, and leaves out parts that nobody could use."""
    bundle = make_bundle("ada")
    assert client.get("/api/avatars/ada").json()["prepared"] == {}
    for backend in ("musetalk15", "wav2lip96", "ultralight"):
        plain_parts(bundle, backend, {"bbox_shift": 3})
    parts_path(bundle, "wav2lip96").write_bytes(b"damaged")
    told = client.get("/api/avatars/ada").json()
    assert (told["prepared"], told["networks"]) == ({"musetalk15": {"bbox_shift": 3}}, [])
    parts_path(bundle, "ultralight").with_suffix(".pth").write_bytes(b"weights")
    told = client.get("/api/avatars/ada").json()
    assert (told["prepared"].keys(), told["networks"]) == ({"musetalk15", "ultralight"}, ["ultralight"])
    assert client.get("/api/avatars").json() == [told]


def test_the_pictures_of_a_face_report_are_served(client: TestClient, tmp_path: Path) -> None:
    """Also of an upload that never became an avatar; only those that are there."""
    folder = tmp_path / "reports" / "ada"
    folder.mkdir(parents=True)
    (folder / "strip-00.jpg").write_bytes(b"jpeg")
    assert client.get("/api/avatars/ada/report/strip-00.jpg").content == b"jpeg"
    error_of(client.get("/api/avatars/ada/report/strip-01.jpg"), 404)
    error_of(client.get("/api/avatars/ada/report/..%5cjobs.db"), 404)


def test_an_avatar_is_renamed(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """A clean name is kept and shown; an empty one and a foreign id are refused with the remedy."""
    make_bundle("ada")
    answer = client.patch("/api/avatars/ada", json={"name": "  小\n美 "})
    assert answer.status_code == 200 and answer.json()["name"] == "小 美"
    assert client.get("/api/avatars").json()[0]["name"] == "小 美"
    assert error_of(client.patch("/api/avatars/ada", json={"name": " . "}), 400)["code"] == "bad_request"
    assert error_of(client.patch("/api/avatars/ada", json={}), 400)["code"] == "bad_request"
    assert error_of(client.patch("/api/avatars/nobody", json={"name": "Me"}), 404)["code"] == "avatar_not_found"


def test_the_mouth_of_an_avatar_is_told_and_chosen(
    client: TestClient, make_bundle: Callable[..., AvatarBundle]
) -> None:
    """How it is drawn and why; one with real mouths can be painted, one without cannot have them."""
    for name, why_not in (("ada", ""), ("bob", "few_open")):
        path = make_bundle(name).path / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "mouth": {"version": 1, "why_not": why_not}}))

    def told(answer: Any) -> tuple[str, str]:
        assert answer.status_code == 200
        return answer.json()["mouth"], answer.json()["mouth_reason"]

    assert told(client.get("/api/avatars/ada")) == ("personal", "")
    assert told(client.get("/api/avatars/bob")) == ("painted", "few_open")
    assert told(client.patch("/api/avatars/ada", json={"mouth": "painted"})) == ("painted", "chosen")
    assert told(client.patch("/api/avatars/ada", json={"mouth": "personal", "name": "Ida"})) == ("personal", "")
    assert client.get("/api/avatars/ada").json()["name"] == "Ida"
    assert error_of(client.patch("/api/avatars/bob", json={"mouth": "personal"}), 409)["code"] == "no_real_mouths"
    assert error_of(client.patch("/api/avatars/ada", json={"mouth": "open"}), 400)["code"] == "bad_request"


def test_an_avatar_keeps_who_it_is(client: TestClient, make_bundle: Callable[..., AvatarBundle]) -> None:
    """Each field by itself: what a change leaves out stays, and null takes it away."""
    make_bundle("ada")
    where = "/api/avatars/ada/persona"
    assert client.get(where).json() == {"prompt": None, "greeting": None, "voice": None}
    client.patch(where, json={"prompt": "You are Ada.", "greeting": "你好"})
    assert client.patch(where, json={"voice": "anna", "prompt": None}).status_code == 200
    assert client.get(where).json() == {"prompt": None, "greeting": "你好", "voice": "anna"}
    assert error_of(client.patch(where, json={"greeting": "x" * 1001}), 400)["code"] == "bad_request"
    assert error_of(client.get("/api/avatars/nobody/persona"), 404)["code"] == "avatar_not_found"
