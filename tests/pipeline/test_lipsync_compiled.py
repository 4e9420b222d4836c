"""`--compile`: all that is compiled is compiled before the first turn, or nothing is."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="neural backends; pip install -e .[neural]")

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch._dynamo
import torch._inductor.config
from neural_avatars import WINDOW_SHAPES, add_parts, write_weights

from avatars.bundle import AvatarBundle
from pipeline.lipsync.torch_device import compile_whole
from pipeline.registry import create
from pipeline.types import FeatureWindow, LipSyncRequest

pytestmark = pytest.mark.thorough


class Doubling(torch.nn.Module):
    """Something to compile: it knows batches of three as another case."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x if len(x) == 3 else x + x


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Says by which of torch's backends networks are compiled: none but `eager` needs a compiler."""
    of_torch = torch.nn.Module.compile
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    def by(backend: str) -> None:
        monkeypatch.setattr(torch.nn.Module, "compile", lambda network: of_torch(network, backend=backend))

    by("eager")
    yield by
    torch._dynamo.reset()


def compilations() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.usefixtures("compiling")
def test_nothing_is_compiled_after_a_network_is_compiled_whole() -> None:
    """Every batch size has been drawn once, whatever the sizes are that torch takes for one case."""
    network = Doubling()
    drawn = []
    compile_whole([network], lambda size: drawn.append(len(network(torch.zeros(size, 4)))), 6)
    assert drawn == [1, 2, 3, 4, 5, 6]
    before = compilations()
    for size in (6, 2, 5, 3, 4, 1):
        network(torch.ones(size, 4))
    assert compilations() == before >= 3


def test_a_network_that_cannot_be_compiled_draws_as_it_is(
    compiling: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a compiler the operator is told the cause and the remedy; nothing is compiled later either."""
    compiling("inductor")
    network = Doubling()
    without = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    with torch._inductor.config.patch(without), caplog.at_level("WARNING"):
        compile_whole([network], lambda size: network(torch.zeros(size, 4)), 4)
    assert "Doubling cannot be compiled and draws as it is: No working C++ compiler found" in caplog.text
    assert "--compile" in caplog.text
    assert (network(torch.ones(2, 4)) == 2).all()


@pytest.mark.usefixtures("compiling")
def test_batches_that_do_not_fit_are_not_compiled() -> None:
    """The device is too small for the largest batches: those that fit are compiled, and it is used."""
    network = Doubling()

    def draw(size: int) -> None:
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        network(torch.zeros(size, 4))

    compile_whole([network], draw, 16)
    before = compilations()
    network(torch.zeros(2, 4))
    assert compilations() == before > 0


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize(
    ("name", "largest"),
    [("wav2lip96", 9), pytest.param("musetalk15", 3, marks=pytest.mark.slow)],
)
def test_no_batch_of_a_turn_is_compiled(
    name: str,
    largest: int,
    make_bundle: Callable[..., AvatarBundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What load() and the first prepare() have compiled draws every batch, and a second avatar compiles nothing.

    Nine sizes are one more than torch compiles of one function unless it is told otherwise.
    """
    backend = create("lipsync", name, weights=write_weights(tmp_path / "weights", name), compiled=True)
    monkeypatch.setattr(type(backend), "max_batch", largest)
    backend.load("cpu")
    bundles = [make_bundle("first"), make_bundle("second")]
    for bundle in bundles:
        add_parts(bundle, name)
    states = [backend.prepare(bundles[0])]
    before = compilations()
    assert before > 0
    states.append(backend.prepare(bundles[1]))
    windows = np.random.default_rng(0).normal(0, 1, (largest, *WINDOW_SHAPES[backend.features])).astype(np.float32)
    for state in states:
        for size in range(largest, 0, -1):
            backend.infer([LipSyncRequest(state, 0, FeatureWindow(windows[at], at), 0.0) for at in range(size)])
    assert compilations() == before
