"""Calls that a caller records as CUDA graphs, on streams and pools of the caller's own.

Recording forbids every synchronisation and every read by the host: that it works shows that a
layer's forward and backward pass have none.
"""

import numpy as np
import pytest

import gpurnn
from tests.cases import Problem, get, make_layer, put, random_numbers

pytestmark = pytest.mark.cuda

PROBLEMS = [
    ("stepwise", Problem("lstm", 4, 3, 5, 6, bidirectional=True, device="cuda")),
    ("stepwise", Problem("gru_before", 3, 2, 5, 7, num_layers=2, bias=False, device="cuda")),
    ("persistent", Problem("lstm", 4, 3, 5, 6, bidirectional=True, device="cuda")),
    ("persistent", Problem("gru", 3, 5, 4, 9, num_layers=2, dtype="float64", device="cuda")),
]


@pytest.fixture
def schedule():
    yield gpurnn.cuda.schedule
    gpurnn.cuda.schedule("auto")


def training_step(layer, x, lengths, dy):
    """(y, dx) of a forward and backward pass, which adds into the layer's gradients."""
    y, _, backward = layer.forward(x, lengths=lengths)
    return y, backward(dy)[0]


def numbers_of(layer, *arrays):
    return [*map(get, arrays), *map(get, layer.grads.values())]


@pytest.mark.parametrize(("name", "problem"), PROBLEMS, ids=str)
def test_training_step_in_a_callers_graph(name, problem, schedule):
    """The graph computes with what stands in x, lengths and parameters when it is launched."""
    import cupy

    schedule(name)
    numbers, lengths = random_numbers(problem), cupy.full(problem.B, problem.T, np.int64)
    layer = make_layer(problem, numbers.params)
    x, dy = put(numbers.x, "cuda"), put(numbers.dy, "cuda")
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(pool.malloc), stream:
        training_step(layer, x, lengths, dy)
        stream.begin_capture()
        results = training_step(layer, x, lengths, dy)
        graph = stream.end_capture()
    stream.synchronize()
    for factor, first_length in ((0.5, 1), (-1, 2)):
        x *= factor
        lengths[0] = first_length
        layer.params["weight_hh_l0"] *= 0.9
        layer.zero_grads()
        expected = numbers_of(layer, *training_step(layer, x, lengths, dy))
        layer.zero_grads()
        cupy.cuda.get_current_stream().synchronize()
        graph.launch(stream)
        stream.synchronize()
        for recorded, direct in zip(numbers_of(layer, *results), expected):
            # Products sum in another order in a graph: a few roundings of the largest number.
            most = 30 * np.finfo(direct.dtype).eps * max(np.abs(direct).max(), 1)
            np.testing.assert_allclose(recorded, direct, rtol=0, atol=most)


def test_inference_in_a_callers_graph():
    import cupy

    problem = Problem("gru", 5, 2, 3, 4, device="cuda")
    layer, x = make_layer(problem), put(random_numbers(problem).x, "cuda")
    expected, stream = layer(x)[0].get(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc), stream:
        stream.begin_capture()
        y, _ = layer(x)
        graph = stream.end_capture()
        graph.launch()
        stream.synchronize()
    np.testing.assert_allclose(y.get(), expected, rtol=0, atol=1e-6)


def test_lengths_in_a_graph_must_lie_on_the_device():
    import cupy

    problem = Problem("lstm", 4, 2, 3, 4, device="cuda")
    layer, x = make_layer(problem), put(random_numbers(problem).x, "cuda")
    layer(x)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            with pytest.raises(TypeError, match="lengths: expected a CuPy array"):
                layer(x, lengths=np.array([1, 4]))
        finally:
            stream.end_capture()


def test_streams_side_by_side():
    """Calls on two streams, begun before either has been waited for, do not share memory."""
    import cupy

    problem = Problem("lstm", 3, 2, 3, 5, device="cuda")
    layer, x = make_layer(problem), put(random_numbers(problem).x, "cuda")
    expected = [layer(factor * x)[0].get() for factor in (1, 2)]
    inputs = [factor * x for factor in (1, 2)]
    cupy.cuda.get_current_stream().synchronize()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in inputs]
    found = []
    for stream, numbers in zip(streams * 2, inputs * 2):
        with stream:
            found.append(layer(numbers)[0])
    for stream in streams:
        stream.synchronize()
    for y, wanted in zip(found, expected * 2):
        np.testing.assert_array_equal(y.get(), wanted)
