"""What every lip-sync backend promises, whichever it is."""

import numpy as np
import pytest
from portraits import portrait_bundle

from models.visemes import MOUTH_SHAPES
from pipeline.interfaces import LipSync
from pipeline.registry import create, names
from pipeline.types import FacePatch, FeatureWindow, LipSyncRequest

WINDOWS = {
    "viseme": [
        np.append(shape, activity).astype(np.float32) for shape in MOUTH_SHAPES[[1, 2, 10, 14]] for activity in (1, 0.5)
    ],
    "loudness": [np.array([level], np.float32) for level in (-120, -60, -40.5, -39.5, -20, 0, -90, -3)],
}


@pytest.fixture(params=names("lipsync"))
def backend(request):
    made = create("lipsync", request.param)
    made.load()
    yield made
    made.close()


@pytest.fixture
def bundles(tmp_path):
    """Two avatars whose boxes differ in size."""
    return [
        portrait_bundle(tmp_path / "woman", "woman", 320, shifts=(0, 3, 6)),
        portrait_bundle(tmp_path / "man", "man", 256, shifts=(0, -2)),
    ]


@pytest.fixture
def requests(backend, bundles):
    """Requests that mix avatars, frames and mouths."""
    states = [backend.prepare(bundle) for bundle in bundles]
    return [
        LipSyncRequest(states[i % 2], i % bundles[i % 2].frame_count, FeatureWindow(data, i), float(i))
        for i, data in enumerate(WINDOWS[backend.features])
    ]


def box_size(bundle):
    x0, y0, x1, y1 = bundle.boxes[0]
    return (y1 - y0, x1 - x0, 3)


def test_it_is_a_lipsync(backend):
    """Name, features and batch size are there to be read; the features are a registered extractor."""
    assert isinstance(backend, LipSync)
    assert backend.name in names("lipsync")
    assert backend.features in names("features")
    assert backend.max_batch >= 1


def test_one_patch_a_request_in_order_and_of_the_boxes_size(backend, bundles, requests):
    """Requests may mix avatars: each answer is RGB uint8 of its own avatar's box."""
    patches = backend.infer(requests)
    assert len(patches) == len(requests)
    for i, patch in enumerate(patches):
        assert isinstance(patch, FacePatch)
        assert patch.pixels.dtype == np.uint8
        assert patch.pixels.shape == box_size(bundles[i % 2])


def test_the_same_request_gives_the_same_patch(backend, requests):
    """Nothing is remembered from one picture to the next."""
    first = backend.infer(requests[:1])[0].pixels.copy()
    backend.infer(requests[1:])
    assert (backend.infer(requests[:1])[0].pixels == first).all()


def test_a_batch_equals_its_requests_one_by_one(backend, requests):
    """Batching changes no pixel."""
    together = backend.infer(requests)
    for request, patch in zip(requests, together, strict=True):
        assert (backend.infer([request])[0].pixels == patch.pixels).all()


def test_a_patch_belongs_to_whoever_asked(backend, requests):
    """Drawing on a patch changes neither the avatar nor later patches."""
    patch = backend.infer(requests[:1])[0]
    before = patch.pixels.copy()
    patch.pixels[:] = 7
    assert (backend.infer(requests[:1])[0].pixels == before).all()


def test_no_requests_no_patches(backend):
    """An empty batch is answered by an empty list."""
    assert backend.infer([]) == []


def test_close_may_be_called_twice(backend):
    """Closing again does nothing."""
    backend.close()
    backend.close()
