"""CTC against the sum over all alignments, against PyTorch, and between the devices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpurnn
from tests import reference_ctc
from tests.cases import assert_close, get, put
from tests.differences import assert_is_gradient

DTYPES = ("float32", "float64")


def problem(dtype, T=60, B=5, V=9, S=12, scale=2.0, seed=1):
    """Sequences of all kinds: no labels, many, repeated ones; some ends early."""
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((T, B, V))).astype(dtype)
    targets = rng.integers(1, V, (B, S))
    targets[1] = 3  # all the same: a blank between each two
    targets[2, 1::2] = targets[2, :-1:2]
    target_lengths = rng.integers(1, S + 1, B)
    target_lengths[:3] = 0, S, S - 1
    input_lengths = rng.integers(2 * S + 1, T + 1, B)
    input_lengths[3] = T
    return logits, targets, input_lengths, target_lengths


def run(device, logits, targets, *lengths, **options):
    loss, dlogits = gpurnn.ctc_loss(put(logits, device), put(targets, device), *lengths, **options)
    assert gpurnn.arrays.device_of(loss) == gpurnn.arrays.device_of(dlogits) == device
    return get(loss), get(dlogits)


def of_pytorch(logits, targets, input_lengths, target_lengths, **options):
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.asarray(logits, np.float64), requires_grad=True)
    lengths = torch.tensor(input_lengths), torch.tensor(target_lengths)
    loss = torch.nn.functional.ctc_loss(
        x.log_softmax(-1), torch.tensor(targets), *lengths, **options
    )
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_same_as_pytorch(reduction, dtype, device):
    numbers = problem(dtype)
    expected = of_pytorch(*numbers, reduction=reduction)
    loss, dlogits = run(device, *numbers, reduction=reduction)
    assert_close(loss, expected[0], dtype, "loss")
    assert_close(dlogits, expected[1], dtype, "dlogits")
    # The targets of all sequences in one row are the same.
    row = np.concatenate([t[:n] for t, n in zip(numbers[1], numbers[3])])
    again, dagain = run(device, numbers[0], row, *numbers[2:], reduction=reduction)
    assert np.array_equal(again, loss) and np.array_equal(dagain, dlogits)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_impossible_alignments_same_as_pytorch(zero_infinity, device):
    """Three labels and a repetition need four steps; the first sequences have fewer."""
    logits = np.random.default_rng(1).standard_normal((5, 4, 4)).astype("float32")
    numbers = (logits, np.array([[1, 1, 2]] * 4), np.array([2, 3, 4, 5]), np.array([3, 3, 3, 2]))
    options = {"reduction": "none", "zero_infinity": zero_infinity}
    expected = of_pytorch(*numbers, **options)
    loss, dlogits = run(device, *numbers, **options)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(dlogits, expected[1], atol=1e-6)
    assert list(np.isinf(loss)) == [not zero_infinity] * 2 + [False] * 2


@pytest.mark.parametrize("blank", [0, 2])
def test_same_as_the_sum_over_all_alignments(blank, device):
    rng = np.random.default_rng(blank)
    logits = rng.standard_normal((5, 6, 3))
    others = [k for k in range(3) if k != blank]
    labels = [(), others[:1], others, others[:1] * 2, others[:1] * 3, (*others, others[0])]
    lengths = np.array([5, 2, 4, 3, 5, 5])
    row = np.array([k for some in labels for k in some])
    loss, dlogits = run(
        device, logits, row, lengths, np.array([len(x) for x in labels]),
        blank=blank, reduction="none",
    )  # fmt: skip
    for b, (some, steps) in enumerate(zip(labels, lengths)):
        expected, gradient = reference_ctc.ctc_loss(logits[:steps, b], some, blank)
        assert_close(loss[b], np.asarray(expected), "float64", f"loss of {some}")
        assert_close(dlogits[:steps, b], gradient, "float64", f"gradient of {some}")
        assert np.all(dlogits[steps:, b] == 0)


def test_gradient_against_finite_differences():
    logits, targets, input_lengths, target_lengths = problem("float64", T=9, B=4, V=4, S=3)
    lengths = np.array([9, 7, 7, 8]), target_lengths
    _, dlogits = gpurnn.ctc_loss(logits, targets, *lengths)
    assert_is_gradient(
        dlogits, lambda: gpurnn.ctc_loss(logits, targets, *lengths)[0], logits, "dlogits"
    )


@given(st.integers(0, 2**32), st.floats(0.1, 30))
def test_gradients_of_a_step_sum_to_zero(seed, scale):
    """A constant added to a step's logits changes nothing; and the loss is of a probability."""
    logits, *rest = problem("float64", scale=scale, seed=seed)
    losses, dlogits = gpurnn.ctc_loss(logits, *rest, reduction="none")
    assert np.all(losses >= 0)
    assert np.max(np.abs(dlogits.sum(-1))) < 1e-9


def test_long_sequences_keep_their_digits(device):
    """The loss is in the thousands; float32 must not show that in the gradients."""
    T = 1500 if device == "cpu" else 200
    numbers = problem("float32", T=T, B=4, V=30, S=60, scale=3.0)
    expected = run("cpu", numbers[0].astype("float64"), *numbers[1:])
    loss, dlogits = run(device, *numbers)
    assert loss == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(dlogits, expected[1], atol=4e-5 * np.abs(expected[1]).max())


def test_padding_may_hold_anything_and_minus_infinity_is_never(device):
    logits, targets, *lengths = problem("float32")
    expected = run(device, logits, targets, *lengths)
    logits, targets = logits.copy(), targets.copy()
    for b, (steps, count) in enumerate(zip(*lengths)):
        logits[steps:, b] = np.nan
        targets[b, count:] = -7
    loss, dlogits = run(device, logits, targets, *lengths)
    assert loss == expected[0] and np.array_equal(dlogits, expected[1])

    logits = np.zeros((3, 2, 3), "float32")
    logits[0, :, 0] = -np.inf  # no blank in the first step
    logits[:, 1, 1] = -np.inf  # never a 1 in the second sequence
    loss, dlogits = run(device, logits, np.array([[1], [1]]), [3, 3], [1, 1], reduction="none")
    # 1 at first, then 11, 10 or 00 of nine.
    assert loss[0] == pytest.approx(-np.log(1 / 2 * 3 / 9)) and np.isinf(loss[1])
    assert np.all(np.isfinite(dlogits[:, 0])) and dlogits[0, 0, 0] == 0


def test_nan_is_told(device):
    logits, *rest = problem("float32")
    logits[2, 3, 1] = np.nan
    losses, _ = run(device, logits, *rest, reduction="none")
    assert list(np.isnan(losses)) == [False, False, False, True, False]


@pytest.mark.cuda
def test_unknown_label_gives_nan_on_cuda():
    logits, targets, *lengths = problem("float32")
    targets[3, 0], targets[4, 0] = -1, 9
    losses, _ = run("cuda", logits, targets, *lengths, reduction="none")
    assert list(np.isnan(losses)) == [False] * 3 + [True] * 2


LOGITS, TARGETS = np.zeros((4, 2, 3), "float32"), np.array([[1, 2], [2, 1]])


@pytest.mark.parametrize(
    ("error", "named", "changed"),
    [
        (ValueError, r"logits: expected \(T, B, V\)", {"logits": LOGITS[0]}),
        (TypeError, "logits", {"logits": LOGITS.astype("int32")}),
        (TypeError, "targets", {"targets": TARGETS.astype("float32")}),
        (ValueError, "targets: expected 0 to 2", {"targets": TARGETS + 1}),
        (ValueError, "targets.*blank", {"targets": TARGETS - 1}),
        (ValueError, r"targets.*\(2, at least 2\)", {"targets": TARGETS[:, :1]}),
        (ValueError, r"targets.*\(4,\)", {"targets": TARGETS[0]}),
        (ValueError, r"input_lengths.*\(2,\)", {"input_lengths": [4]}),
        (ValueError, "input_lengths.*1 to 4.*5", {"input_lengths": [4, 5]}),
        (TypeError, "target_lengths", {"target_lengths": [1.0, 2.0]}),
        (ValueError, "target_lengths.*at least 0", {"target_lengths": [-1, 2]}),
        (ValueError, "blank.*0 to 2.*3", {"blank": 3}),
        (ValueError, "reduction.*mean.*'average'", {"reduction": "average"}),
    ],
)
def test_bad_input(error, named, changed):
    good = {
        "logits": LOGITS, "targets": TARGETS, "input_lengths": [4, 4], "target_lengths": [2, 2],
    }  # fmt: skip
    gpurnn.ctc_loss(**good)
    with pytest.raises(error, match=named):
        gpurnn.ctc_loss(**(good | changed))


@pytest.mark.parametrize("blank", [0, 2])
def test_wide_beams_find_all_labels(blank, device):
    """With more places than there are prefixes the search is exact."""
    logits = np.random.default_rng(1).standard_normal((5, 3, 3))
    lengths = np.array([5, 1, 4])
    decoded = gpurnn.ctc_beam_decode(put(logits, device), lengths, width=100, blank=blank)
    for b, hypotheses in enumerate(decoded):
        expected = reference_ctc.alignments(logits[: lengths[b], b], blank)
        found = {tuple(labels): np.exp(score) for labels, score in hypotheses}
        assert len(found) == len(hypotheses)  # no labels twice
        assert found == pytest.approx(expected)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_narrow_beams_find_the_best_of_peaked_sequences():
    rng = np.random.default_rng(1)
    logits = (4 * rng.standard_normal((30, 4, 6))).astype("float32")
    wide = gpurnn.ctc_beam_decode(logits, width=300)
    for narrow, whole in zip(gpurnn.ctc_beam_decode(logits, width=10), wide):
        assert len(narrow) == 10
        assert np.array_equal(narrow[0][0], whole[0][0])
        # Prefixes that were given up take some of the probability with them, never add to it.
        assert narrow[0][1] <= whole[0][1] + 1e-9


def test_a_beam_of_probability_is_what_the_loss_says():
    logits = (3 * np.random.default_rng(2).standard_normal((12, 1, 5))).astype("float64")
    for labels, score in gpurnn.ctc_beam_decode(logits, width=400)[0][:5]:
        loss, _ = gpurnn.ctc_loss(logits, labels[None], [12], [len(labels)], reduction="sum")
        # What the search gave up on the way is missing: little, with so many places.
        assert float(loss) - 1e-9 <= -score <= float(loss) + 1e-3


def test_greedy_decoding(device):
    path = np.array([[0, 1], [1, 1], [1, 2], [0, 2], [1, 0], [2, 1]])
    logits = put(np.eye(3, dtype="float32")[path], device)
    decoded = gpurnn.ctc_greedy_decode(logits)
    assert [list(labels) for labels in decoded] == [[1, 1, 2], [1, 2, 1]]
    decoded = gpurnn.ctc_greedy_decode(logits, [1, 4], blank=2)
    assert [list(labels) for labels in decoded] == [[0], [1]]


def test_decoding_refuses():
    for decode in (gpurnn.ctc_greedy_decode, gpurnn.ctc_beam_decode):
        with pytest.raises(ValueError, match=r"logits: expected \(T, B, V\)"):
            decode(LOGITS[0])
        with pytest.raises(ValueError, match="lengths: expected 1 to 4, got 5"):
            decode(LOGITS, [4, 5])
        with pytest.raises(ValueError, match="blank"):
            decode(LOGITS, blank=-1)
    with pytest.raises(ValueError, match="width"):
        gpurnn.ctc_beam_decode(LOGITS, width=0)
