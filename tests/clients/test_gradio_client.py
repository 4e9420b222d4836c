"""gradio_client against a portal as a user starts it: an avatar is made, speaks in a clip, and the clip comes back."""

from __future__ import annotations

import base64
from pathlib import Path

import av
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from avatars.library import presets
from portal.commands.portal_process import PortalProcess

pytestmark = pytest.mark.thorough

WITHIN_S = 180.0


def client_of(portal: PortalProcess, name: str, folder: Path) -> Client:
    secret = base64.b64encode(f"{name}:{name}".encode()).decode()
    headers = {"Authorization": f"Basic {secret}"}
    return Client(portal.url, headers=headers, verbose=False, analytics_enabled=False, download_files=folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio_client")
def test_a_program_makes_an_avatar_and_a_clip(portal: PortalProcess, tmp_path: Path) -> None:
    """Progress comes by the events of Gradio's queue; the jobs are those of our own API."""
    client = client_of(portal, "max", tmp_path)
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(described) == ["/list_avatars", "/prepare_avatar", "/render_clip", "/list_jobs"]
    assert {avatar["id"] for avatar in client.predict(api_name="/list_avatars")} >= {"mira"}

    picture = handle_file(str(presets()[0].picture))
    with pytest.raises(TypeError, match="consent"):
        client.predict(file=picture, api_name="/prepare_avatar")
    with pytest.raises(AppError, match="consent"):
        client.predict(file=picture, consent=False, api_name="/prepare_avatar")
    making = client.submit(file=picture, consent=True, name="Nia", api_name="/prepare_avatar")
    avatar = making.result(timeout=WITHIN_S)
    assert avatar["name"] == "Nia" and avatar["kind"] == "still"

    rendering = client.submit(avatar=avatar["id"], text="Hello there.", name="Greeting", api_name="/render_clip")
    clip = Path(rendering.result(timeout=WITHIN_S))
    with av.open(str(clip)) as media:
        assert sum(1 for _ in media.decode(video=0)) > 10
        assert media.streams.audio
    jobs = {(job["kind"], job["name"], job["state"]) for job in client.predict(limit=5, api_name="/list_jobs")}
    assert {("clip", "Greeting", "done"), ("prepare", "Nia", "done")} <= jobs
    with pytest.raises(AppError, match="nobody"):
        client.predict(avatar="nobody", text="Hello.", api_name="/render_clip")
    client.close()


def test_a_viewer_cannot_make_anything(portal: PortalProcess, tmp_path: Path) -> None:
    """The lists are theirs to read."""
    client = client_of(portal, "vera", tmp_path)
    assert client.predict(api_name="/list_avatars")
    with pytest.raises(AppError, match="role maker"):
        client.predict(avatar="mira", text="Hello.", api_name="/render_clip")
    with pytest.raises(Exception, match="403"):
        client.predict(file=handle_file(str(presets()[0].picture)), consent=True, api_name="/prepare_avatar")
    client.close()
