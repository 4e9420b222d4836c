"""What every lip-sync backend in the registry promises."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from portraits import portrait_bundle

from avatars.bundle import AvatarBundle
from avatars.errors import BundleError
from avatars.parts import BackendParts, parts_path, write_parts
from models.visemes import MOUTH_SHAPES
from pipeline.features.visemes_around import PICTURES_AFTER, PICTURES_BEFORE
from pipeline.interfaces import LipSync
from pipeline.registry import create, names, rows
from pipeline.types import FacePatch, FeatureWindow, LipSyncRequest

pytestmark = pytest.mark.thorough

Options = Mapping[str, Mapping[str, object]]
Rows = Mapping[str, npt.NDArray[np.generic]]
Changed = Callable[[Rows], Rows]

WINDOWS = {
    "visemes_around": [
        np.tile(np.append(shape, activity).astype(np.float32), (PICTURES_BEFORE + 1 + PICTURES_AFTER, 1))
        for shape in MOUTH_SHAPES[[1, 2, 10, 14]]
        for activity in (1, 0.5)
    ],
    "loudness": [np.array([level], np.float32) for level in (-120, -60, -40.5, -39.5, -20, 0, -90, -3)],
}
NEURAL = tuple(row.name for row in rows("lipsync") if row.weights)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Constructor arguments by backend: tiny weights for networks, and no waiting for the null device."""
    made: dict[str, dict[str, object]] = {"null": {"wait": lambda _seconds: None}}
    if importlib.util.find_spec("torch"):
        from neural_avatars import write_weights

        folder = tmp_path_factory.mktemp("weights")
        made |= {name: {"weights": write_weights(folder / name, name)} for name in NEURAL}
    return made


@pytest.fixture(params=names("lipsync"))
def backend(request: pytest.FixtureRequest, options: Options) -> Iterator[LipSync]:
    if request.param in NEURAL:
        pytest.importorskip("torch", reason="a neural backend; pip install -e .[neural]")
    made: LipSync = create("lipsync", request.param, **options.get(request.param, {}))
    made.load("cpu")
    yield made
    made.close()


def windows(backend: LipSync) -> Sequence[npt.NDArray[np.float32]]:
    if backend.name not in NEURAL:
        return WINDOWS[backend.features]
    from neural_avatars import WINDOW_SHAPES

    rng = np.random.default_rng(1)
    return list(rng.normal(0, 1, (8, *WINDOW_SHAPES[backend.features])).astype(np.float32))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Sequence[AvatarBundle]:
    """Two avatars whose boxes differ in size."""
    tmp_path = tmp_path_factory.mktemp("avatars")
    return [
        portrait_bundle(tmp_path / "woman", "woman", 320, shifts=(0, 3, 6)),
        portrait_bundle(tmp_path / "man", "man", 256, shifts=(0, -2)),
    ]


@pytest.fixture
def requests(backend: LipSync, bundles: Sequence[AvatarBundle]) -> Sequence[LipSyncRequest]:
    """Requests that mix avatars, frames and mouths."""
    if backend.name in NEURAL:
        from neural_avatars import add_parts

        for bundle in bundles:
            if not parts_path(bundle, backend.name).exists():
                add_parts(bundle, backend.name)
    states = [backend.prepare(bundle) for bundle in bundles]
    return [
        LipSyncRequest(states[i % 2], i % bundles[i % 2].frame_count, FeatureWindow(data, i), float(i))
        for i, data in enumerate(windows(backend))
    ]


def test_it_is_a_lipsync(backend: LipSync) -> None:
    """It has a name, features and a batch size; its features are a registered extractor."""
    assert isinstance(backend, LipSync)
    assert backend.name in names("lipsync")
    assert backend.features in names("features")
    assert backend.max_batch >= 1


def test_one_patch_a_request_in_order_inside_its_avatar(
    backend: LipSync, bundles: Sequence[AvatarBundle], requests: Sequence[LipSyncRequest]
) -> None:
    """Requests may mix avatars: each patch is uint8 RGB with its mask, for a box inside its own avatar's frame."""
    patches = backend.infer(requests)
    assert len(patches) == len(requests)
    for i, patch in enumerate(patches):
        assert isinstance(patch, FacePatch)
        assert patch.pixels.dtype == np.uint8
        x0, y0, x1, y1 = patch.box
        assert 0 <= x0 < x1 <= bundles[i % 2].width
        assert 0 <= y0 < y1 <= bundles[i % 2].height
        assert patch.mask is None or patch.mask.shape == (y1 - y0, x1 - x0)


def test_the_same_request_gives_the_same_patch(backend: LipSync, requests: Sequence[LipSyncRequest]) -> None:
    """Nothing is remembered from one picture to the next."""
    first = backend.infer(requests[:1])[0].pixels.copy()
    backend.infer(requests[1:])
    assert (backend.infer(requests[:1])[0].pixels == first).all()


@pytest.mark.parametrize("backend", NEURAL, indirect=True)
@pytest.mark.parametrize(
    "changed",
    [
        lambda _rows: {},
        lambda rows: {name: row[:, :4] for name, row in rows.items()},
        lambda rows: {name: row.astype(np.float64) for name, row in rows.items()},
    ],
    ids=["missing", "of another size", "of another type"],
)
def test_parts_that_do_not_suit_the_network_are_refused_before_a_turn(
    backend: LipSync, tmp_path: Path, changed: Changed
) -> None:
    """If another program wrote unsuitable parts, choosing the avatar reports them as damaged, with the remedy."""
    from neural_avatars import add_parts

    bundle = portrait_bundle(tmp_path, "woman", 256)
    add_parts(bundle, backend.name)
    parts = BackendParts.open(bundle, backend.name)
    name = "latents" if backend.name.startswith("musetalk") else "faces"
    rows = changed({name: parts.row(name, 0)[None]})
    write_parts(bundle, backend.name, boxes=parts.boxes, masks=[parts.mask(0)], rows=rows, parameters={})
    for look in (backend.prepared_from, backend.prepare):
        with pytest.raises(BundleError, match=name) as caught:
            look(bundle)
        assert caught.value.hint == f"Prepare the avatar for {backend.name} again."


def test_a_batch_equals_its_requests_one_by_one(backend: LipSync, requests: Sequence[LipSyncRequest]) -> None:
    """Batching changes no pixel. A network may differ by one level, because it adds in another order."""
    together = backend.infer(requests)
    for request, patch in zip(requests, together, strict=True):
        alone = backend.infer([request])[0].pixels.astype(int)
        assert np.abs(alone - patch.pixels).max() <= (1 if backend.name in NEURAL else 0)


def test_a_patch_belongs_to_whoever_asked(backend: LipSync, requests: Sequence[LipSyncRequest]) -> None:
    """Drawing on a patch changes neither the avatar nor later patches."""
    patch = backend.infer(requests[:1])[0]
    before = patch.pixels.copy()
    patch.pixels[:] = 7
    assert (backend.infer(requests[:1])[0].pixels == before).all()


def test_no_requests_no_patches(backend: LipSync) -> None:
    """An empty batch gives an empty list."""
    assert backend.infer([]) == []


def test_close_may_be_called_twice(backend: LipSync) -> None:
    """Closing again does nothing."""
    backend.close()
    backend.close()
