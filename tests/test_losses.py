"""The losses against plain NumPy, on every device."""

import numpy as np
import pytest

import gpurnn
from tests import reference_losses
from tests.cases import assert_close, get, put

DTYPES = ("float32", "float64")
SHAPES = [(1, 1), (7, 5), (3, 4, 33), (2, 100)]


def check(function, expected, arguments, dtype, device, **options):
    loss, gradient = function(*(put(a, device) for a in arguments), **options)
    assert loss.shape == () and loss.dtype == np.dtype(dtype)
    assert gpurnn.arrays.device_of(loss) == device
    assert_close(loss, np.asarray(expected[0]), dtype, "loss")
    assert_close(gradient, expected[1], dtype, "gradient")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_cross_entropy(shape, dtype, device):
    rng = np.random.default_rng(1)
    logits = (5 * rng.standard_normal(shape)).astype(dtype)
    targets = rng.integers(0, shape[-1], shape[:-1])
    expected = reference_losses.softmax_cross_entropy(logits, targets)
    check(gpurnn.softmax_cross_entropy, expected, (logits, targets), dtype, device)


@pytest.mark.parametrize("ignored", [-100, 2])
def test_softmax_cross_entropy_ignores(ignored, device):
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((6, 4, 5)).astype("float32")
    targets = rng.integers(0, 5, (6, 4))
    targets[::2, :3] = ignored
    expected = reference_losses.softmax_cross_entropy(logits, targets, ignored)
    logits[targets == ignored] = np.nan
    expected[1][targets == ignored] = 0
    arguments = (logits, targets)
    check(
        gpurnn.softmax_cross_entropy, expected, arguments, "float32", device, ignore_index=ignored
    )


def test_softmax_cross_entropy_of_nothing(device):
    """All positions ignored: a mean of nothing is NaN, as in PyTorch, and moves no parameter."""
    logits, targets = put(np.ones((2, 3), "float32"), device), put(np.full(2, -100), device)
    loss, gradient = gpurnn.softmax_cross_entropy(logits, targets)
    assert np.isnan(get(loss)) and np.all(get(gradient) == 0)


@pytest.mark.parametrize("integers", ["int32", "uint8"])
def test_targets_of_any_integers(integers, device):
    logits = np.random.default_rng(1).standard_normal((4, 3)).astype("float32")
    targets = np.array([0, 2, 1, 2], integers)
    expected = reference_losses.softmax_cross_entropy(logits, targets)
    check(gpurnn.softmax_cross_entropy, expected, (logits, targets), "float32", device)


def test_softmax_of_large_logits(device):
    logits = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], "float32")
    targets = np.array([1, 2])
    expected = reference_losses.softmax_cross_entropy(logits, targets)
    check(gpurnn.softmax_cross_entropy, expected, (logits, targets), "float32", device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["mean_squared_error", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("shape", [*SHAPES, (3,)], ids=str)
def test_losses_of_numbers(name, shape, dtype, device):
    rng = np.random.default_rng(1)
    prediction = (3 * rng.standard_normal(shape)).astype(dtype)
    target = rng.random(shape).astype(dtype)
    expected = getattr(reference_losses, name)(prediction, target)
    check(getattr(gpurnn, name), expected, (prediction, target), dtype, device)


def test_sigmoid_of_large_logits(device):
    logits = np.array([1e3, -1e3, 1e3, -1e3, 0], "float32")
    targets = np.array([1, 0, 0, 1, 0.5], "float32")
    expected = reference_losses.sigmoid_cross_entropy(logits, targets)
    check(gpurnn.sigmoid_cross_entropy, expected, (logits, targets), "float32", device)


def test_nan_is_told(device):
    """A broken model must not look like a good one."""
    logits = put(np.array([[np.nan, 0.0]], "float32"), device)
    assert np.isnan(get(gpurnn.softmax_cross_entropy(logits, put(np.array([1]), device))[0]))
    assert np.isnan(get(gpurnn.mean_squared_error(logits, put(np.zeros((1, 2), "f"), device))[0]))
    target = put(np.zeros((1, 2), "float32"), device)
    assert np.isnan(get(gpurnn.sigmoid_cross_entropy(logits, target)[0]))


LOGITS, TARGETS = np.zeros((4, 3), "float32"), np.zeros(4, "int64")


@pytest.mark.parametrize(
    ("error", "named", "logits", "targets"),
    [
        (ValueError, "targets", LOGITS, TARGETS[:3]),
        (ValueError, "targets", LOGITS, TARGETS + 3),
        (ValueError, "targets", LOGITS, TARGETS - 1),
        (TypeError, "targets", LOGITS, TARGETS.astype("float32")),
        (TypeError, "logits", LOGITS.astype("int32"), TARGETS),
        (ValueError, "logits", LOGITS[:0], TARGETS[:0]),
    ],
)
def test_bad_targets(error, named, logits, targets):
    with pytest.raises(error, match=rf"\b{named}\b"):
        gpurnn.softmax_cross_entropy(logits, targets)


@pytest.mark.parametrize(
    ("function", "first", "second"),
    [
        (gpurnn.mean_squared_error, "prediction", "target"),
        (gpurnn.sigmoid_cross_entropy, "logits", "targets"),
    ],
)
def test_bad_numbers(function, first, second):
    with pytest.raises(ValueError, match=rf"\b{second}\b"):
        function(LOGITS, LOGITS[:, :2])
    with pytest.raises(TypeError, match=rf"\b{second}\b"):
        function(LOGITS, LOGITS.astype("float64"))
    with pytest.raises(TypeError, match=rf"\b{first}\b"):
        function(LOGITS.tolist(), LOGITS)


@pytest.mark.cuda
def test_unknown_class_gives_nan_on_cuda():
    # To refuse it would mean to wait for the device; a silent number would be worse.
    logits = put(np.ones((2, 3), "float32"), "cuda")
    for target in (3, -1):
        loss, _ = gpurnn.softmax_cross_entropy(logits, put(np.array([0, target]), "cuda"))
        assert np.isnan(get(loss))
