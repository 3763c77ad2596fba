"""Elman's and Jordan's networks against their equations in NumPy, and against differences."""

import numpy as np
import pytest

import gpurnn
from tests.cases import assert_close, get, put
from tests.differences import assert_is_gradient

G = {
    "identity": lambda a: a,
    "relu": lambda a: np.maximum(a, 0),
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "softmax": lambda a: np.exp(a) / np.exp(a).sum(),
}


def elman_reference(network, params, x, state, lengths):
    """Elman (1990), a sequence and a step at a time: y and the last hidden units."""
    W, U, b, c, V, d = (np.asarray(p, np.float64) for p in params.values())
    y, final = np.zeros((*x.shape[:2], len(d))), state.astype(np.float64)
    for sequence, length in enumerate(lengths):
        for t in range(length):
            a = W @ x[t, sequence] + b + U @ final[0, sequence] + c
            final[0, sequence] = G[network.kinds[0]](a)
            y[t, sequence] = G[network.kinds[1]](V @ final[0, sequence] + d)
    return y, final


def jordan_reference(network, params, x, state, lengths):
    """Jordan (1986), a sequence and a step at a time: y and the last context."""
    W, C, b, V, d = (np.asarray(p, np.float64) for p in params.values())
    y, final = np.zeros((*x.shape[:2], len(d))), state.astype(np.float64)
    for sequence, length in enumerate(lengths):
        for t in range(length):
            h = G[network.kinds[0]](W @ x[t, sequence] + b + C @ final[sequence])
            y[t, sequence] = G[network.kinds[1]](V @ h + d)
            final[sequence] = network.decay * final[sequence] + y[t, sequence]
    return y, final


class Case:
    """A network of one kind and size, and numbers for it."""

    def __init__(self, name, nonlinearity, output, sizes=(4, 3, 2, 5, 3), dtype="float64"):
        self.name, self.kinds, self.dtype, self.decay = name, (nonlinearity, output), dtype, 0.3
        self.sizes, rng = sizes, np.random.default_rng(5)
        T, B, I, H, O = sizes
        self.x, self.dy = (rng.standard_normal(s).astype(dtype) for s in ((T, B, I), (T, B, O)))
        shape = (1, B, H) if name == "ElmanNetwork" else (B, O)
        self.state, self.dstate = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        self.lengths = rng.integers(1, T + 1, B)

    def __str__(self):
        return "-".join((self.name, *self.kinds, *map(str, self.sizes), self.dtype))

    def network(self, device="cpu", **options):
        T, B, I, H, O = self.sizes
        if self.name == "JordanNetwork":
            options["decay"] = self.decay
        return getattr(gpurnn, self.name)(
            I, H, O, nonlinearity=self.kinds[0], output=self.kinds[1], dtype=self.dtype,
            device=device, rng=2, **options,
        )  # fmt: skip

    def run(self, device="cpu", lengths=None):
        """(y, state, dx, dstate) and the gradients, as NumPy arrays."""
        network = self.network(device)
        y, state, backward = network.forward(put(self.x, device), put(self.state, device), lengths)
        dx, dstate = backward(put(self.dy, device), put(self.dstate, device))
        return get((y, state, dx, dstate)), {n: get(g) for n, g in network.grads.items()}


PAIRS = [("tanh", "identity"), ("relu", "softmax"), ("tanh", "sigmoid"), ("relu", "tanh")]
CASES = [Case(name, *kinds) for name in ("ElmanNetwork", "JordanNetwork") for kinds in PAIRS]
CASES += [
    Case("JordanNetwork", "sigmoid", "softmax", (3, 5, 9, 35, 19), "float32"),
    Case("JordanNetwork", "tanh", "identity", (1, 1, 1, 1, 1)),
    Case("ElmanNetwork", "tanh", "softmax", (3, 5, 9, 35, 19), "float32"),
]
ON_CPU = CASES[:-1]  # Elman's network is made of layers that have their own tests in float32
REFERENCES = {"ElmanNetwork": elman_reference, "JordanNetwork": jordan_reference}


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("case", ON_CPU, ids=str)
def test_forward(case, ragged):
    network, T = case.network(), case.sizes[0]
    lengths = case.lengths if ragged else np.full(case.sizes[1], T)
    expected = REFERENCES[case.name](case, network.params, case.x, case.state, lengths)
    y, state = network(case.x, case.state, lengths)
    assert_close(y, expected[0], case.dtype, "y")
    assert_close(state, expected[1], case.dtype, "state")


@pytest.mark.parametrize("case", CASES[:8], ids=str)
def test_every_gradient(case):
    network = case.network()
    (_, _, dx, dstate), grads = case.run(lengths=case.lengths)

    def loss():
        y, state = network(case.x, case.state, case.lengths)
        return np.sum(y * case.dy) + np.sum(state * case.dstate)

    assert_is_gradient(dx, loss, case.x, "x")
    assert_is_gradient(dstate, loss, case.state, "state")
    for name, parameter in network.params.items():
        assert_is_gradient(grads[name], loss, parameter, name)


def test_float32_is_float64_rounded():
    """Jordan's, at sizes beyond a vector, of which no gradient was taken by differences."""
    case = CASES[8]
    values, grads = case.run(lengths=case.lengths)
    exact = Case(case.name, *case.kinds, case.sizes)
    for name in ("x", "dy", "state", "dstate", "lengths"):
        value = getattr(case, name)
        setattr(exact, name, value if name == "lengths" else value.astype("float64"))
    exact_values, exact_grads = exact.run(lengths=case.lengths)
    for value, expected, name in zip(values, exact_values, ("y", "state", "dx", "dstate")):
        assert_close(value, expected, "float32", name)
    for name, expected in exact_grads.items():
        assert_close(grads[name], expected, "float32", name)


@pytest.mark.cuda
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("case", [*CASES[1:8:2], CASES[8], CASES[10]], ids=str)
def test_cuda_agrees_with_the_cpu(case, ragged):
    lengths = case.lengths if ragged else None
    (values, grads), (expected, expected_grads) = (
        case.run(device, lengths) for device in ("cuda", "cpu")
    )
    for value, other, name in zip(values, expected, ("y", "state", "dx", "dstate")):
        assert_close(value, other, case.dtype, name)
    for name, other in expected_grads.items():
        assert_close(grads[name], other, case.dtype, name)


@pytest.mark.parametrize("name", ["ElmanNetwork", "JordanNetwork"])
def test_padding_may_hold_anything(name):
    case = Case(name, "tanh", "sigmoid")
    whole = case.run(lengths=case.lengths)
    past = np.arange(case.sizes[0])[:, None] >= case.lengths
    case.x[past], case.dy[past] = np.nan, np.nan
    for found, expected in zip(case.run(lengths=case.lengths)[0], whole[0]):
        assert np.array_equal(found, expected)
    grads = case.run(lengths=case.lengths)[1]
    for key, expected in whole[1].items():
        assert np.array_equal(grads[key], expected), key


@pytest.mark.parametrize("name", ["ElmanNetwork", "JordanNetwork"])
def test_batch_first_and_without_bias(name):
    case = Case(name, "tanh", "identity")
    one, other = case.network(bias=False), case.network(bias=False, batch_first=True)
    assert not any("bias" in key for key in one.params)
    y, _, backward = one.forward(case.x, None, case.lengths)
    dx, _ = backward(case.dy)
    across = [np.ascontiguousarray(a.swapaxes(0, 1)) for a in (case.x, case.dy)]
    y_across, _, backward = other.forward(across[0], None, case.lengths)
    dx_across, _ = backward(across[1])
    assert_close(y_across.swapaxes(0, 1), y, "float64", "y")
    assert_close(dx_across.swapaxes(0, 1), dx, "float64", "dx")
    for key, gradient in one.grads.items():
        assert_close(other.grads[key], gradient, "float64", key)


def test_several_threads_compute_the_same():
    case, found = Case("JordanNetwork", "tanh", "identity", (40, 7, 9, 35, 19)), []
    before = gpurnn.get_num_threads()
    for threads in (1, 3):
        gpurnn.set_num_threads(threads)
        try:
            found.append(case.run(lengths=np.arange(34, 41)))
        finally:
            gpurnn.set_num_threads(before)
    for a, b in zip(found[0][0], found[1][0]):
        assert_close(a, b, "float64", "values")


def test_state_dict_and_device():
    network = gpurnn.ElmanNetwork(2, 3, 1, rng=0)
    other = gpurnn.ElmanNetwork(2, 3, 1, rng=1)
    other.load_state_dict(network.state_dict())
    x = np.ones((2, 1, 2), "float32")
    assert np.array_equal(other(x)[0], network(x)[0])
    assert other.to("cpu") is other
    assert {id(p) for p in other.params.values()} == {
        id(p) for part in other._parts.values() for p in part.params.values()
    }


@pytest.mark.parametrize("name", ["ElmanNetwork", "JordanNetwork"])
def test_bad_input(name):
    make = getattr(gpurnn, name)
    with pytest.raises(ValueError, match="output: expected one of identity, .* got 'cosine'"):
        make(2, 3, 1, output="cosine")
    with pytest.raises(ValueError, match="nonlinearity: expected .* got 'cosine'"):
        make(2, 3, 1, nonlinearity="cosine")
    with pytest.raises(ValueError, match="expected an integer of at least 1, got 0"):
        make(2, 3, 0)
    network = make(2, 3, 1)
    x = np.zeros((4, 2, 2), "float32")
    with pytest.raises(ValueError, match=r"x: expected \(T, B, 2\), got \(4, 2, 3\)"):
        network(np.zeros((4, 2, 3), "float32"))
    with pytest.raises(TypeError, match="x: expected float32, got float64"):
        network(x.astype("float64"))
    with pytest.raises(ValueError, match="x: expected at least one step"):
        network(x[:0])
    with pytest.raises(ValueError, match="lengths: expected 1 to 4, got 5"):
        network(x, lengths=[1, 5])
    with pytest.raises(ValueError, match="state: expected"):
        network(x, np.zeros((7, 7), "float32"))
    _, _, backward = network.forward(x)
    with pytest.raises(ValueError, match=r"dy: expected \(4, 2, 1\), got \(4, 2, 2\)"):
        backward(x)


@pytest.mark.parametrize("decay", [-0.1, 1.1, "much", True, None])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match="decay: expected a number from 0 to 1"):
        gpurnn.JordanNetwork(2, 3, 1, decay=decay)
