"""Wrong arguments: the right exception, which names the argument; and nothing has changed after."""

from contextlib import contextmanager

import numpy as np
import pytest

import gpurnn
from tests.cases import Problem, as_state, get, make_layer, put, random_numbers

PROBLEM = Problem("lstm", T=4, B=3, I=5, H=6, num_layers=2, bidirectional=True)


@pytest.fixture
def numbers():
    return random_numbers(PROBLEM)


@pytest.fixture
def layer(numbers):
    return make_layer(PROBLEM, numbers.params)


@contextmanager
def refused(layer, error, pattern):
    """The block raises `error`, whose message begins with `pattern`; the layer is as it was."""

    def values():
        return [{k: get(a).copy() for k, a in d.items()} for d in (layer.params, layer.grads)]

    before = values()
    with pytest.raises(error, match=rf"^{pattern}"):
        yield
    after = values()
    for kept, now in zip(before, after):
        assert list(kept) == list(now)
        assert all(np.array_equal(kept[name], now[name]) for name in kept)


X_CASES = {
    "a wrong size": (ValueError, lambda x: x[..., :4], r"x: expected \(T, B, 5\), got \(4, 3, 4\)"),
    "too few axes": (ValueError, lambda x: x[0], r"x: expected \(T, B, 5\), got \(3, 5\)"),
    "too many axes": (ValueError, lambda x: x[None], r"x: .*\(1, 4, 3, 5\)"),
    "no step": (ValueError, lambda x: x[:0], r"x: .*\(0, 3, 5\)"),
    "no sequence": (ValueError, lambda x: x[:, :0], r"x: .*\(4, 0, 5\)"),
    "another float": (TypeError, lambda x: x.astype("float64"), "x: .*float32.*float64"),
    "integers": (TypeError, lambda x: x.astype("int32"), "x: .*float32.*int32"),
    "complex": (TypeError, lambda x: x.astype("complex64"), "x: .*float32.*complex64"),
    "a list": (TypeError, lambda x: x.tolist(), "x: .*list"),
    "nothing": (TypeError, lambda x: None, "x: .*None"),
}


@pytest.mark.parametrize("case", X_CASES)
@pytest.mark.parametrize("call", ["inference", "training"])
def test_x(layer, numbers, case, call):
    error, spoil, pattern = X_CASES[case]
    function = layer if call == "inference" else layer.forward
    with refused(layer, error, pattern):
        function(spoil(numbers.x))


def test_x_batch_first(numbers):
    layer = make_layer(PROBLEM, numbers.params, batch_first=True)
    with refused(layer, ValueError, r"x: expected \(B, T, 5\), got \(4, 3, 4\)"):
        layer(numbers.x[..., :4])


LENGTHS_CASES = {
    "zero": (ValueError, [4, 0, 1], "lengths: .*0"),
    "negative": (ValueError, [4, -1, 1], "lengths: .*-1"),
    "too long": (ValueError, [4, 5, 1], "lengths: .*4.*5"),
    "too few": (ValueError, [4, 2], r"lengths: .*3"),
    "too many": (ValueError, [4, 2, 1, 1], r"lengths: .*3"),
    "a number": (ValueError, 4, "lengths: "),
    "a matrix": (ValueError, [[4, 2, 1]], "lengths: "),
    "floats": (TypeError, [4.0, 2.0, 1.0], "lengths: .*float64"),
    "truth values": (TypeError, [True, True, True], "lengths: .*bool"),
    "words": (TypeError, ["4", "2", "1"], "lengths: "),
}


def test_lengths_that_are_no_array(layer, numbers):
    for lengths in ([[4, 2], [1]], object()):
        with refused(layer, (TypeError, ValueError), "lengths: "):
            layer(numbers.x, lengths=lengths)


@pytest.mark.parametrize("case", LENGTHS_CASES)
def test_lengths(layer, numbers, case):
    error, lengths, pattern = LENGTHS_CASES[case]
    for given in (lengths, np.array(lengths)):
        with refused(layer, error, pattern):
            layer(numbers.x, lengths=given)
        with refused(layer, error, pattern):
            layer.forward(numbers.x, lengths=given)


STATE_CASES = {
    "h alone": (TypeError, lambda h, c: h),
    "three": (TypeError, lambda h, c: (h, c, c)),
    "too few layers": (ValueError, lambda h, c: (h[:2], c)),
    "another batch": (ValueError, lambda h, c: (h, c[:, :2])),
    "another size": (ValueError, lambda h, c: (h, c[..., :5])),
    "too few axes": (ValueError, lambda h, c: (h[0], c)),
    "another float": (TypeError, lambda h, c: (h.astype("float64"), c)),
    "a list": (TypeError, lambda h, c: (h.tolist(), c)),
    "half of it": (TypeError, lambda h, c: (h, None)),
}


@pytest.mark.parametrize("case", STATE_CASES)
def test_state(layer, numbers, case):
    error, spoil = STATE_CASES[case]
    bad = spoil(*numbers.state)
    with refused(layer, error, "state"):
        layer(numbers.x, bad)
    with refused(layer, error, "state"):
        layer.forward(numbers.x, bad)
    _, _, backward = layer.forward(numbers.x)
    with refused(layer, error, "dstate"):
        backward(numbers.dy, bad)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru"])
def test_state_of_one_part(cell):
    problem = Problem(cell)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    (h,) = numbers.state
    with refused(layer, TypeError, "state"):
        layer(numbers.x, (h, h))
    with refused(layer, ValueError, r"state: expected \(1, 3, 6\), got \(1, 3, 5\)"):
        layer(numbers.x, h[..., :5])


DY_CASES = {
    "a wrong size": (ValueError, lambda dy: dy[..., :6]),
    "too few steps": (ValueError, lambda dy: dy[:3]),
    "too few axes": (ValueError, lambda dy: dy[0]),
    "another float": (TypeError, lambda dy: dy.astype("float64")),
    "nothing": (TypeError, lambda dy: None),
}


@pytest.mark.parametrize("case", DY_CASES)
def test_dy(layer, numbers, case):
    error, spoil = DY_CASES[case]
    _, _, backward = layer.forward(numbers.x)
    with refused(layer, error, "dy: "):
        backward(spoil(numbers.dy))


def test_a_layer_works_after_refusing(layer, numbers):
    y, _ = layer(numbers.x, as_state(numbers.state))
    with refused(layer, ValueError, "x"):
        layer(numbers.x[:0])
    with refused(layer, ValueError, "lengths"):
        layer(numbers.x, lengths=[1, 2, 9])
    np.testing.assert_array_equal(layer(numbers.x, as_state(numbers.state))[0], y)


WRONG_KIND = (TypeError, ValueError)  # of a number or a name: either is a fair answer
CONSTRUCTOR_CASES = [
    (ValueError, "input_size", {"input_size": 0}),
    (ValueError, "hidden_size", {"hidden_size": 0}),
    (ValueError, "hidden_size", {"hidden_size": -3}),
    (WRONG_KIND, "hidden_size", {"hidden_size": 2.5}),
    (WRONG_KIND, "hidden_size", {"hidden_size": "4"}),
    (ValueError, "num_layers", {"num_layers": 0}),
    (WRONG_KIND, "num_layers", {"num_layers": 1.0}),
    (ValueError, "dropout", {"dropout": 1.5}),
    (ValueError, "dropout", {"dropout": -0.1}),
    (ValueError, "dropout", {"dropout": float("nan")}),
    (WRONG_KIND, "dropout", {"dropout": "0.5"}),
    (WRONG_KIND, "dtype", {"dtype": "int32"}),
    (WRONG_KIND, "dtype", {"dtype": "float128"}),
    (WRONG_KIND, "dtype", {"dtype": "no such type"}),
    (ValueError, "device", {"device": "tpu"}),
    (WRONG_KIND, "rng", {"rng": "seed"}),
]


@pytest.mark.parametrize(
    ("error", "named", "options"),
    [pytest.param(*case, id=f"{case[1]}={case[2][case[1]]}") for case in CONSTRUCTOR_CASES],
)
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_constructor(kind, error, named, options):
    with pytest.raises(error, match=rf"^{named}\b"):
        getattr(gpurnn, kind)(**{"input_size": 3, "hidden_size": 4, **options})


def test_unknown_nonlinearity():
    with pytest.raises(ValueError, match=r"^nonlinearity: .*sin"):
        gpurnn.RNN(3, 4, nonlinearity="sin")


def test_unknown_option():
    with pytest.raises(TypeError, match="peephole"):
        gpurnn.RNN(3, 4, peephole=True)


STATE_DICT_CASES = {
    "missing": (ValueError, lambda d: d.pop("bias_hh_l1_reverse"), "bias_hh_l1_reverse"),
    "extra": (ValueError, lambda d: d.update(weight_hh_l2=np.zeros(3)), "weight_hh_l2"),
    "wrong shape": (
        ValueError,
        lambda d: d.update(bias_hh_l1_reverse=np.zeros(7, "float32")),
        r"bias_hh_l1_reverse.*\(24,\).*\(7,\)",
    ),
    "transposed": (
        ValueError,
        lambda d: d.update(weight_ih_l0=d["weight_ih_l0"].T),
        r"weight_ih_l0.*\(24, 5\).*\(5, 24\)",
    ),
    "not an array": (WRONG_KIND, lambda d: d.update(bias_hh_l1_reverse="b"), "bias_hh_l1_reverse"),
}


@pytest.mark.parametrize("case", STATE_DICT_CASES)
def test_load_state_dict(layer, case):
    """The fault is in the last of the parameters, and the first is other than the layer's."""
    error, spoil, pattern = STATE_DICT_CASES[case]
    wrong = {name: 2 * value for name, value in layer.state_dict().items()}
    spoil(wrong)
    with refused(layer, error, f".*{pattern}"):
        layer.load_state_dict(wrong)


def test_load_state_dict_of_something_else(layer):
    for other in (None, 7, "weights.safetensors"):
        with refused(layer, TypeError, "state: "):
            layer.load_state_dict(other)


def test_state_dict_is_a_copy_both_ways(layer, numbers):
    arrays = dict(layer.params)
    layer.state_dict()["weight_hh_l0"][...] = 7
    np.testing.assert_array_equal(layer.params["weight_hh_l0"], numbers.params["weight_hh_l0"])
    given = {name: 2 * value for name, value in numbers.params.items()}
    layer.load_state_dict(given)
    given["weight_hh_l0"][...] = 7
    for name, array in arrays.items():
        assert layer.params[name] is array, "an optimizer that holds the array would lose it"
        np.testing.assert_array_equal(array, 2 * numbers.params[name])


@pytest.mark.cuda
def test_arrays_on_the_other_device(numbers):
    """Nothing moves between devices silently."""
    here = make_layer(PROBLEM, numbers.params)
    there = make_layer(PROBLEM, numbers.params, device="cuda")
    for layer, mine, other in ((here, "cpu", "cuda"), (there, "cuda", "cpu")):
        x, alien = put(numbers.x, mine), put(numbers.x, other)
        state, alien_state = (as_state(numbers.state, device) for device in (mine, other))
        with refused(layer, TypeError, f"x: .*{mine}.*{other}"):
            layer(alien)
        with refused(layer, TypeError, f"state.*{mine}.*{other}"):
            layer(x, alien_state)
        _, _, backward = layer.forward(x, state)
        with refused(layer, TypeError, f"dy: .*{mine}.*{other}"):
            backward(put(numbers.dy, other))
        with refused(layer, TypeError, f"dstate.*{mine}.*{other}"):
            backward(put(numbers.dy, mine), alien_state)
    logits = put(np.zeros((2, 3), "float32"), "cuda")
    with pytest.raises(TypeError, match="targets"):
        gpurnn.softmax_cross_entropy(logits, np.zeros(2, int))


@pytest.mark.cuda
def test_bad_lengths_on_cuda(numbers):
    """Lengths are read before any kernel, so that none can run out of bounds."""
    layer = make_layer(PROBLEM, numbers.params, device="cuda")
    with refused(layer, ValueError, "lengths: .*9"):
        layer(put(numbers.x, "cuda"), lengths=[1, 9, 2])


def test_cuda_that_is_not_there():
    if gpurnn.cuda.is_available():
        pytest.skip("CUDA is available here")
    with pytest.raises((ValueError, RuntimeError), match="cuda"):
        gpurnn.LSTM(3, 4, device="cuda")
    layer = gpurnn.LSTM(3, 4)
    with pytest.raises((ValueError, RuntimeError), match="cuda"):
        layer.to("cuda")
    assert layer.device == "cpu"
    assert layer(np.zeros((2, 1, 3), "float32"))[0].shape == (2, 1, 4)
