"""float16 and bfloat16 on CUDA against the float64 references; what is refused elsewhere."""

import re

import numpy as np
import pytest

import gpurnn
from tests.cases import (
    TOLERANCE,
    Problem,
    as_state,
    assert_close,
    get,
    make_layer,
    put,
    random_numbers,
)
from tests.test_recurrent import check_against_reference

HALVES = ("float16", "bfloat16")

PROBLEMS = [
    Problem("lstm", 5, 3, 5, 9, bidirectional=True, ragged=True, device="cuda", dtype="float16"),
    Problem("gru", 3, 9, 4, 33, num_layers=2, ragged=True, device="cuda", dtype="bfloat16"),
    Problem("gru_before", 17, 1, 1, 3, bias=False, device="cuda", dtype="float16"),
]


@pytest.fixture(autouse=True)
def bfloat16():
    pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")


@pytest.mark.cuda
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_recurrent(problem):
    check_against_reference(problem)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", HALVES)
def test_stream_keeps_its_state_in_float32(dtype):
    """Fed step by step it gives the same bits as all steps at once, which round no state."""
    problem = Problem("lstm", 4, 2, 3, 5, device="cuda", dtype=dtype)
    numbers = random_numbers(problem)
    layer, x = make_layer(problem, numbers.params), put(numbers.x, "cuda")
    y, state = layer(x, as_state(numbers.state, "cuda"))
    stream = layer.stream(problem.B)
    stream.state = as_state(numbers.state, "cuda")
    for t in range(problem.T):
        np.testing.assert_array_equal(get(stream.step(x[t])), get(y[t]))
    for part, expected in zip(get(stream.state), get(state)):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", HALVES)
def test_sums_are_float32(dtype):
    """4000 terms of 1 and one of 4096, whose running sum no 16 bits would move on."""
    layer = gpurnn.Linear(4001, 1, dtype=dtype, device="cuda", rng=1)
    weight = np.ones((1, 4001), "float32")
    weight[0, 0] = 4096
    layer.load_state_dict({"weight": weight, "bias": np.zeros(1)})
    x = put(np.ones((3, 4001), dtype), "cuda")
    y, backward = layer.forward(x)
    assert_close(y, np.full((3, 1), 8096.0), dtype, "y")
    backward(put(np.ones((3, 1), dtype), "cuda"))
    np.testing.assert_array_equal(get(layer.grads["bias"]).astype(float), 3)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", HALVES)
def test_training_step(dtype):
    """Embedding, LSTM, Linear, loss, clipping, Adam: as in float32, to the rounding."""

    def train(dtype):
        model = gpurnn.LanguageModel(11, 6, 9, dtype=dtype, device="cuda", rng=1)
        optimizer = gpurnn.Adam(model, lr=1e-2)
        rng, losses = np.random.default_rng(2), []
        indices = put(rng.integers(0, 11, (6, 4)), "cuda")
        for _ in range(3):
            model.zero_grads()
            loss, _, backward = model.loss(indices[:-1], indices[1:])
            backward()
            gpurnn.clip_grad_norm(model, 1.0)
            optimizer.step()
            losses.append(float(loss))
        return losses

    losses = train(dtype)
    assert losses[2] < losses[0]
    np.testing.assert_allclose(losses, train("float32"), rtol=TOLERANCE[dtype])


@pytest.mark.cuda
def test_optimizer_keeps_what_rounding_would_lose():
    layer = gpurnn.Linear(3, 2, dtype="bfloat16", device="cuda", rng=1)
    layer.params["weight"].fill(1)
    optimizer = gpurnn.SGD(layer, lr=1e-3)
    layer.grads["weight"].fill(1)
    for _ in range(10):  # 1 - 0.001 is 1 in bfloat16, 1 - 0.01 is not
        optimizer.step()
    np.testing.assert_allclose(get(layer.params["weight"]).astype(float), 0.99, atol=2**-9)
    np.testing.assert_allclose(optimizer.state_dict()["weight.master"], 0.99, atol=1e-6)
    layer.load_state_dict({"weight": np.full((2, 3), 2.0), "bias": np.zeros(2)})
    optimizer.step()
    master, weight = optimizer.state_dict()["weight.master"], get(layer.params["weight"])
    np.testing.assert_allclose(master, 1.999, atol=1e-6)
    np.testing.assert_array_equal(weight, master.astype(weight.dtype))


@pytest.mark.cuda
def test_large_gradients_have_a_norm():
    layer = gpurnn.Linear(2, 1, dtype="float16", device="cuda")
    layer.grads["weight"].fill(300)  # whose square is none of float16
    assert gpurnn.clip_grad_norm(layer, 1.0) == pytest.approx(300 * 2**0.5)


@pytest.mark.parametrize("dtype", HALVES)
def test_cpu_refuses(dtype):
    with pytest.raises(ValueError, match=f"dtype: {dtype} is for device='cuda', got device='cpu'"):
        gpurnn.LSTM(3, 4, dtype=dtype)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", HALVES)
def test_refusals(dtype):
    layer = gpurnn.LSTM(3, 4, dtype=dtype, device="cuda")
    with pytest.raises(ValueError, match="is for device='cuda'"):
        layer.to("cpu")
    with pytest.raises(TypeError, match=f"^x: expected {dtype}, got float32"):
        layer(put(np.zeros((2, 1, 3), "float32"), "cuda"))
    with pytest.raises(ValueError, match="layer: expected float32 or float64"):
        gpurnn.RTRL(layer, 1)
    with pytest.raises(ValueError, match="dtype: expected float32 or float64"):
        gpurnn.Attention(3, 3, dtype=dtype, device="cuda")
    with pytest.raises(ValueError, match="dtype: expected float32 or float64"):
        gpurnn.MinGRU(3, 3, dtype=dtype, device="cuda")
    gpurnn.cuda.schedule("persistent")
    try:
        with pytest.raises(RuntimeError, match="persistent schedule cannot run"):
            layer(put(np.zeros((2, 1, 3), dtype), "cuda"))
    finally:
        gpurnn.cuda.schedule("auto")


@pytest.mark.parametrize("dtype", HALVES)
def test_kernels_compute_in_float32_only(dtype):
    pytest.importorskip("cupy", reason="CUDA kernels need CuPy")
    device = pytest.importorskip("gpurnn.kernels.cuda.device", reason="needs numba-cuda")
    if device.why_not():
        pytest.skip(device.why_not())
    from gpurnn.kernels.cuda import catalogue

    arithmetic = r"^\s+(?:add|sub|mul|fma|div|ex2|rcp)\S*\.(?:f64|f16x?2?|bf16x?2?)\s.*$"
    for kernel in catalogue.step_kernels(gpurnn.cells.LSTM, dtype):
        ptx = kernel.ptx((9, 0))
        assert not re.findall(arithmetic, ptx, re.M), kernel.identity
        assert ".f64" not in ptx and re.search(r"fma\.rn\.f32", ptx), kernel.identity
