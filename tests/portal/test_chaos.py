"""A chaos: a bad way by UDP, what is half-written, services that stall, its table, and a run against a portal."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import av
import httpx
import numpy as np
import pytest

from models.errors import VivavoceError
from pipeline.types import PLAYOUT_RATE_HZ, SAMPLES_PER_PICTURE
from portal.commands import chaos, cli
from portal.commands.bad_path import MAX_PACKETS_IN_FLIGHT, BadPath, Trouble, bad_path
from portal.commands.chaos_arena import Look
from portal.commands.chaos_disk import half_written
from portal.commands.chaos_peer import concealed_share
from portal.commands.chaos_people import trials_of_people
from portal.commands.chaos_report import Outcome, picture_of_chaos, table_of_outcomes
from portal.commands.chaos_services import Services
from portal.commands.chaos_trials import trials_of_machines
from portal.commands.soak_crowd import Heard

BUNDLE = Path(__file__).parents[1] / "assets" / "bundles" / "v1"


class Way:
    """A bad path whose time passes when it is told to."""

    def __init__(self, trouble: Trouble, seed: int = 1) -> None:
        self.now_s = 0.0
        self.arrived: list[int] = []
        self._waiting: list[tuple[float, Callable[[], None]]] = []
        self.path = BadPath(trouble, random.Random(seed), self._later, lambda: self.now_s)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._waiting.append((self.now_s + delay_s, call))

    def send(self, count: int, every_s: float = 0.01) -> list[int]:
        """Which of that many packets arrive, in the order of arrival."""
        for number in range(count):
            self.path.pass_on(partial(self.arrived.append, number), there=True)
            self.pass_time(every_s)
        self.pass_time(10)
        return self.arrived

    def pass_time(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while due := [one for one in self._waiting if one[0] <= until_s + 1e-9]:
            first = min(due, key=lambda one: one[0])
            self._waiting.remove(first)
            self.now_s = first[0]
            first[1]()
        self.now_s = until_s


def test_a_good_path_passes_everything_on_at_once() -> None:
    assert Way(Trouble()).send(50) == list(range(50))


def test_what_is_lost_is_drawn_from_the_seed() -> None:
    """The same packets for the same seed, about the share that was asked for, and the others in their order."""
    arrived = Way(Trouble(lost=0.05)).send(2000)
    assert arrived == Way(Trouble(lost=0.05)).send(2000) == sorted(arrived)
    assert arrived != Way(Trouble(lost=0.05), seed=2).send(2000)
    assert 1850 < len(arrived) < 1950


def test_jitter_delays_and_keeps_the_order_unless_packets_overtake() -> None:
    way = Way(Trouble(jitter_ms=50))
    way.path.pass_on(lambda: way.arrived.append(0), there=True)
    assert way.arrived == []
    way.pass_time(0.05)
    assert way.arrived == [0]
    assert Way(Trouble(jitter_ms=50)).send(500) == list(range(500))
    mixed = Way(Trouble(jitter_ms=50, overtaking=0.25)).send(500)
    assert mixed != sorted(mixed) and sorted(mixed) == list(range(500))


def test_a_path_holds_no_more_than_so_many_packets() -> None:
    way = Way(Trouble(jitter_ms=1000))
    for _ in range(MAX_PACKETS_IN_FLIGHT + 100):
        way.path.pass_on(lambda: None, there=True)
    assert way.path.lost >= 100 > way.path.lost - 100
    way.pass_time(2)
    way.path.pass_on(lambda: way.arrived.append(1), there=True)
    way.pass_time(2)
    assert way.arrived == [1]


async def test_packets_go_there_and_answers_come_back() -> None:
    """Over real sockets; what nobody takes any more is lost without a word."""
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data.upper(), addr)

    class Near(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            answers.put_nowait(data)

    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    port = echo.get_extra_info("sockname")[1]
    async with bad_path("127.0.0.1", port, Trouble(), random.Random(1)) as path:
        near, _ = await loop.create_datagram_endpoint(Near, remote_addr=("127.0.0.1", path.port))
        near.sendto(b"hello")
        async with asyncio.timeout(60):
            assert await answers.get() == b"HELLO"
        echo.close()
        near.sendto(b"anybody?")
        await asyncio.sleep(0)
    near.close()
    assert path.passed >= 2 and path.lost == 0


def came(places: list[int], late_s: dict[int, float], first_ticks: int = 0) -> dict[int, float]:
    """Packets of sound by their numbers, on time but for those that are late."""
    return {
        (first_ticks + place * SAMPLES_PER_PICTURE) % 2**32: place * SAMPLES_PER_PICTURE / PLAYOUT_RATE_HZ
        + late_s.get(place, 0.0)
        for place in places
    }


def test_sound_that_is_missing_or_too_late_is_concealed() -> None:
    whole = list(range(100))
    assert concealed_share(came(whole, {})) == 0
    assert concealed_share(came([place for place in whole if place not in (7, 50)], {})) == pytest.approx(0.02)
    assert concealed_share(came(whole, {7: 0.2, 50: 0.5})) == pytest.approx(0.01), "0.2 s can still be waited for"
    assert concealed_share(came(whole, {}, first_ticks=2**32 - 50 * SAMPLES_PER_PICTURE)) == 0, "the RTP clock wraps"
    later = dict.fromkeys(whole[40:], 0.8)
    assert concealed_share(came(whole, later)) <= 0.12, "a portal that goes on later is followed"
    assert concealed_share({}) == 1


def clip(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def test_what_is_half_written_is_found(tmp_path: Path) -> None:
    """Each kind by itself; a whole data folder has none."""
    shutil.copytree(BUNDLE, tmp_path / "avatars" / "kept")
    (tmp_path / "clips").mkdir()
    clip(tmp_path / "clips" / "one.mp4")
    assert half_written(tmp_path, ["one"], ["one", "two"]) == []
    assert half_written(tmp_path, ["one", "two"], ["one", "two"]) == ["clip two is missing"]
    assert half_written(tmp_path, [], []) == ["clip one is nobody's"]
    whole = (tmp_path / "clips" / "one.mp4").read_bytes()
    (tmp_path / "clips" / "one.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "jobs" / "one" / "work").mkdir(parents=True)
    (tmp_path / "state.json").write_text('{"half": ')
    (tmp_path / "avatars" / "kept" / "tensors.safetensors").write_bytes(b"")
    found = half_written(tmp_path, ["one"], ["one"])
    assert len(found) == 4 and "clip one breaks off" in found and "state.json is no JSON" in found
    assert "work of job one is left" in found


async def test_services_are_silent_until_they_recover() -> None:
    async with Services().serving() as services, httpx.AsyncClient(timeout=60) as http:
        ask = {"model": "chaos", "messages": [], "stream": True}
        answer = await http.post(f"{services.url}/chat/completions", json=ask)
        assert "[DONE]" in answer.text and "ferry" in answer.text
        services.stall()
        waiting = asyncio.create_task(http.post(f"{services.url}/audio/speech", json={}))
        assert (await http.get(f"{services.url}/models")).status_code == 200
        assert services.stalled and not waiting.done()
        services.recover()
        assert len((await waiting).content) == 48_000


def outcome(name: str, words: str, *, held: bool | None, began_s: float = 0.0) -> Outcome:
    return Outcome(name, "stands", words, held, began_s, began_s + 1)


def test_the_table_has_a_row_for_each_trial_and_what_did_not_hold_is_bold() -> None:
    table = table_of_outcomes(
        [
            outcome("flood", "fine", held=True),
            outcome("clock", "no libfaketime", held=None),
            outcome("flood", "gap 900 ms", held=False),
        ]
    )
    assert "| flood | stands | **1 of 2** | fine<br>**gap 900 ms** |" in table
    assert "| clock | stands | not here | no libfaketime |" in table
    assert len(table.splitlines()) == 4


def test_the_picture_has_lines_and_names_what_happened_when() -> None:
    looks = [Look(100.0 + second, [Heard(frames=25, longest_gap_ms=41)], 300.0, 40) for second in range(30)]
    outcomes = [outcome("flood", "", held=True, began_s=105), outcome("clock", "", held=True, began_s=120)]
    picture = picture_of_chaos(looks, outcomes, 200)
    drawn = ElementTree.fromstring(picture)
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4
    words = [text.text for text in drawn.findall(".//{http://www.w3.org/2000/svg}text")]
    assert "1: flood" in words and "2: clock" in words and words.count("1") == words.count("2") == 1


def test_every_trial_says_what_must_hold() -> None:
    trials = [*trials_of_machines(), *trials_of_people()]
    assert len({trial.name for trial in trials}) == len(trials) > 12
    assert all(trial.promise for trial in trials)


def test_a_trial_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before a portal is started."""
    assert cli.main(["chaos", "--only", "earthquake"]) == 1
    assert "earthquake" in capsys.readouterr().err


def test_only_linux_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(VivavoceError, match="Linux"):
        chaos.chaos(chaos.Chaos(1, 1, tmp_path), {}, print)


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_a_chaos_of_one_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model falls silent in a real portal: the session says so, talks again, and all of it is written down."""
    monkeypatch.setattr(chaos, "SETTLES_S", 0.0)
    said: list[str] = []
    run = chaos.Chaos(minutes=0, seed=1, out=tmp_path, only="language model", viewers=1)
    chaos.chaos(run, {"worker": False}, said.append)
    found = json.loads((tmp_path / "chaos.json").read_text(encoding="utf-8"))
    (seen,) = found["outcomes"]
    assert "language_model_failed" in seen["words"] and "the next one was spoken" in seen["words"], said
    assert found["seed"] == 1 and found["looks"] and "| language model says nothing |" in said[-1]
    assert (tmp_path / "chaos.svg").read_text(encoding="utf-8").startswith("<svg")
