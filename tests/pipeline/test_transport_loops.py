"""LoopCache and LoopReplay: encoded once, entered at key frames, bounded."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import AsyncIterator, Callable

import av
import pytest
from transport_viewer import GatedExecutor

from avatars.bundle import AvatarBundle, decode_jpeg
from pipeline.transports.loops import KEY_PICTURES, EncodedLoop, LoopCache, LoopCoding, LoopReplay

MakeBundle = Callable[..., AvatarBundle]
H264 = LoopCoding.of("H264")
JPEG = LoopCoding("JPEG", 75)


@pytest.fixture
def executor() -> GatedExecutor:
    return GatedExecutor()


@pytest.fixture
async def cache(executor: GatedExecutor) -> AsyncIterator[LoopCache]:
    cache = LoopCache(executor)
    yield cache
    await cache.aclose()


class TestLoopCache:
    @pytest.mark.parametrize(("coding", "decoder"), [(H264, "h264"), (LoopCoding.of("VP8"), "libvpx")])
    async def test_a_video_loop_can_be_entered_at_each_of_its_keys(
        self, cache: LoopCache, make_bundle: MakeBundle, coding: LoopCoding, decoder: str
    ) -> None:
        """One picture a loop index; decoding from any key on gives all the rest."""
        bundle = make_bundle(frames=30)
        loop = await cache.wait(bundle, coding)
        assert loop is not None
        assert len(loop.pictures) == len(bundle.loop) == 58
        assert sorted(loop.keys) == [0, KEY_PICTURES, 2 * KEY_PICTURES]
        for key in loop.keys:
            context = av.CodecContext.create(decoder, "r")
            assert isinstance(context, av.VideoCodecContext)
            shown = [frame for data in loop.pictures[key:] for frame in context.decode(av.Packet(data))]
            assert len(shown + context.decode(None)) == 58 - key

    async def test_a_jpeg_loop_can_be_entered_anywhere_and_keeps_each_frame_once(
        self, cache: LoopCache, make_bundle: MakeBundle
    ) -> None:
        """There and back through five frames: eight places, five pictures in memory."""
        bundle = make_bundle(frames=5)
        loop = await cache.wait(bundle, JPEG)
        assert loop is not None
        assert loop.keys == frozenset(range(8))
        assert len({id(picture) for picture in loop.pictures}) == 5
        assert loop.size_bytes == sum(map(len, loop.pictures[:5])) == cache.held_bytes
        assert decode_jpeg(loop.pictures[3]).shape == (128, 96, 3)

    async def test_asking_never_waits_and_all_share_one_encoding(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """get() gives None until the loop is there; however many ask, it is encoded once."""
        executor.close_gate()
        bundle = make_bundle()
        assert [cache.get(bundle, H264) for _ in range(3)] == [None] * 3
        waiters = [asyncio.create_task(cache.wait(bundle, H264)) for _ in range(3)]
        await asyncio.sleep(0)
        assert executor.held <= 1
        executor.open_gate()
        loops = await asyncio.gather(*waiters)
        assert loops[0] is not None
        assert all(loop is loops[0] for loop in loops)
        assert cache.get(bundle, H264) is loops[0]

    async def test_one_asker_giving_up_leaves_the_others_their_loop(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """Cancelling a waiter does not cancel the encoding."""
        executor.close_gate()
        bundle = make_bundle()
        quitter, stayer = (asyncio.create_task(cache.wait(bundle, H264)) for _ in range(2))
        await asyncio.sleep(0)
        quitter.cancel()
        await asyncio.gather(quitter, return_exceptions=True)
        executor.open_gate()
        assert await stayer is not None

    async def test_encoding_holds_a_thread_for_a_few_pictures_only(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """Two loops being encoded never have more than one small piece in the executor."""
        executor.close_gate()
        first, second = make_bundle("first", frames=30), make_bundle("second", frames=30)
        cache.get(first, H264)
        cache.get(second, H264)
        pieces = 0
        while cache.get(first, H264) is None or cache.get(second, H264) is None:
            assert executor.held <= 1
            pieces += executor.held
            executor.open_gate()
            executor.close_gate()
            await asyncio.sleep(0)
        assert pieces >= 2 * 58 / 8

    async def test_the_least_recently_used_loop_goes_first(
        self, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """What is held stays under the bound; what was asked for lately stays."""
        bundles = [make_bundle(name) for name in ("one", "two", "three")]
        probe = LoopCache(executor)
        loop = await probe.wait(bundles[0], JPEG)
        assert loop is not None
        cache = LoopCache(executor, bound_bytes=int(2.5 * loop.size_bytes))
        for bundle in bundles[:2]:
            await cache.wait(bundle, JPEG)
        assert cache.get(bundles[0], JPEG) is not None
        await cache.wait(bundles[2], JPEG)
        assert cache.held_bytes <= 2.5 * loop.size_bytes
        assert cache.get(bundles[0], JPEG) is not None
        assert cache.get(bundles[1], JPEG) is None
        await cache.aclose()

    async def test_a_loop_larger_than_the_cache_is_refused_once(
        self, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """It is not encoded again at every picture."""
        cache = LoopCache(executor, bound_bytes=100)
        bundle = make_bundle()
        assert await cache.wait(bundle, JPEG) is None
        executor.close_gate()
        assert cache.get(bundle, JPEG) is None
        await asyncio.sleep(0)
        assert executor.held == 0
        assert cache.held_bytes == 0
        await cache.aclose()

    async def test_a_damaged_avatar_has_no_loop(
        self, cache: LoopCache, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A frame that does not decode ends in None, not in an exception among the transports."""
        monkeypatch.setattr(AvatarBundle, "jpeg", lambda _bundle, _index: b"no picture")
        assert await cache.wait(make_bundle(), H264) is None

    async def test_forgetting_an_avatar_frees_its_loops(self, cache: LoopCache, make_bundle: MakeBundle) -> None:
        """A deleted avatar holds no memory."""
        bundle = make_bundle()
        await cache.wait(bundle, JPEG)
        await cache.wait(bundle, H264)
        cache.forget(bundle.path)
        assert cache.held_bytes == 0 and not cache.avatars

    async def test_an_avatar_that_is_opened_again_is_not_encoded_again(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """Of the same files the pictures are the same, whoever opened them."""
        bundle = make_bundle()
        loop = await cache.wait(bundle, JPEG)
        executor.close_gate()
        assert loop is not None and cache.get(AvatarBundle.open(bundle.path), JPEG) is loop

    async def test_an_avatar_that_was_made_again_is_another(self, cache: LoopCache, make_bundle: MakeBundle) -> None:
        """It has the same id and the same folder, and other files."""
        before = await cache.wait(make_bundle(), JPEG)
        after = await cache.wait(make_bundle(frames=7), JPEG)
        assert before is not None and after is not None and len(after.pictures) == 12

    async def test_an_encoded_loop_keeps_no_file_of_its_avatar_open(
        self, cache: LoopCache, make_bundle: MakeBundle
    ) -> None:
        """The bundle goes when nobody shows it; its encoded pictures stay."""
        bundle = make_bundle()
        await cache.wait(bundle, JPEG)
        gone = weakref.ref(bundle)
        del bundle
        gc.collect()
        assert gone() is None and cache.held_bytes > 0

    async def test_a_deleted_avatar_is_shown_and_not_kept(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """A session that goes on showing it has its pictures encoded live."""
        bundle = make_bundle()
        await cache.wait(bundle, JPEG)
        shutil.rmtree(bundle.path)
        cache.forget(bundle.path)
        assert cache.get(bundle, JPEG) is None and await cache.wait(bundle, JPEG) is None
        assert not cache.avatars

    async def test_closing_ends_an_encoding(
        self, cache: LoopCache, executor: GatedExecutor, make_bundle: MakeBundle
    ) -> None:
        """aclose() leaves no task behind, may come twice, and later askers get None."""
        executor.close_gate()
        bundle = make_bundle()
        cache.get(bundle, H264)
        await asyncio.sleep(0)
        await cache.aclose()
        await cache.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert cache.get(bundle, H264) is None
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestLoopReplay:
    LOOP = EncodedLoop((b"K0", b"1", b"2", b"K3", b"4"), frozenset({0, 3}), 8)

    def test_it_enters_at_a_key_and_follows_round_the_end(self) -> None:
        """Nothing is given before a key; from there on everything, also past the loop's end."""
        replay = LoopReplay()
        given = [replay.picture(self.LOOP, index % 5) for index in range(1, 9)]
        assert given == [None, None, b"K3", b"4", b"K0", b"1", b"2", b"K3"]

    def test_a_gap_leaves_the_loop_until_the_next_key(self) -> None:
        """After a missed picture the next one cannot be decoded."""
        replay = LoopReplay()
        assert [replay.picture(self.LOOP, index) for index in (0, 2, 3)] == [b"K0", None, b"K3"]

    def test_leaving_is_remembered(self) -> None:
        """After live pictures the loop is entered at a key only."""
        replay = LoopReplay()
        assert replay.picture(self.LOOP, 0) == b"K0"
        replay.leave()
        assert replay.picture(self.LOOP, 1) is None

    def test_another_loop_is_entered_at_a_key(self) -> None:
        """Places of two loops do not mix."""
        replay = LoopReplay()
        other = EncodedLoop(self.LOOP.pictures, self.LOOP.keys, 8)
        assert replay.picture(self.LOOP, 0) == b"K0"
        assert replay.picture(other, 1) is None
        assert replay.picture(None, 2) is None
