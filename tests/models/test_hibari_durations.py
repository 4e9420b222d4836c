"""An ONNX model is made to output the durations that it predicts."""

import pytest

from models.hibari_durations import with_durations


def embedded(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def node(op_type: bytes, *inputs: bytes) -> bytes:
    return embedded(1, b"".join(embedded(1, name) for name in inputs) + embedded(4, op_type))


def test_the_summed_tensor_becomes_an_output() -> None:
    """The tensor that the only CumSum sums is added to the graph's outputs."""
    model = bytes([1 << 3, 9]) + embedded(7, node(b"Cast", b"x") + node(b"CumSum", b"steps", b"axis"))
    assert with_durations(model) == model + embedded(7, embedded(12, embedded(1, b"steps")))


@pytest.mark.parametrize("nodes", [node(b"Cast", b"x"), node(b"CumSum", b"a") + node(b"CumSum", b"b")])
def test_another_model_is_left_alone(nodes: bytes) -> None:
    """A network built otherwise is not touched."""
    assert with_durations(embedded(7, nodes)) is None
