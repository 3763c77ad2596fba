"""Attention against plain NumPy, finite differences and PyTorch, on every device."""

import numpy as np
import pytest

import gpurnn
from tests import reference_attention
from tests.cases import assert_close, get, put
from tests.differences import assert_is_gradient

DTYPES = ("float32", "float64")
KINDS = ("additive", "dot", "general")


def problem(kind, dtype="float64", Tq=7, Tk=9, B=3, Q=5, K=4, A=6, device="cpu"):
    """A layer, a query, keys and lengths; the padding of the keys is NaN.

    Scores are of the order of 1: the gradients of a softmax that has decided are what is left of
    terms that cancel.
    """
    rng = np.random.default_rng(1)
    K = Q if kind == "dot" else K
    options = {"attention_size": A} if kind == "additive" else {}
    layer = gpurnn.Attention(Q, K, kind=kind, dtype=dtype, device=device, rng=1, **options)
    layer.load_state_dict(
        {n: rng.standard_normal(a.shape) / a.shape[-1] ** 0.5 for n, a in layer.params.items()}
    )
    query = (rng.standard_normal((Tq, B, Q)) / np.sqrt(Q)).astype(dtype)
    keys = rng.standard_normal((Tk, B, K)).astype(dtype)
    lengths = rng.integers(1, Tk + 1, B)
    lengths[:2] = Tk, 1
    keys[np.arange(Tk)[:, None] >= lengths] = np.nan
    return layer, query, keys, lengths


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [{}, {"Tq": 1, "Tk": 1, "B": 2}, {"Tk": 40, "Q": 37, "K": 33}])
def test_same_as_numpy(kind, sizes, dtype, device):
    layer, query, keys, lengths = problem(kind, dtype, device=device, **sizes)
    expected = reference_attention.attend(kind, layer.state_dict(), query, keys, lengths)
    context, weights = layer(put(query, device), put(keys, device), lengths)
    assert_close(context, expected[0], dtype, "context")
    assert_close(weights, expected[1], dtype, "weights")
    past = np.arange(len(keys)) >= lengths[:, None]
    assert np.all(get(weights)[:, past] == 0)
    # Of one step, and of keys prepared once, the same.
    memory = layer.remember(put(keys, device), lengths)
    one, of_one = layer(put(query[-1].copy(), device), memory)
    assert_close(one, expected[0][-1], dtype, "context of one step")
    assert_close(of_one, expected[1][-1], dtype, "weights of one step")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_finite_differences(kind):
    layer, query, keys, lengths = problem(kind)
    rng = np.random.default_rng(2)
    context, weights, backward = layer.forward(query, keys, lengths)
    dcontext, dweights = rng.standard_normal(context.shape), rng.standard_normal(weights.shape)
    dquery, dkeys = backward(dcontext, dweights)

    def loss():
        context, weights = layer(query, keys, lengths)
        return np.sum(context * dcontext) + np.sum(weights * dweights)

    assert_is_gradient(dquery, loss, query, "dquery")
    past = np.isnan(keys)
    assert np.all(dkeys[past] == 0)
    assert_is_gradient(dkeys, loss, np.nan_to_num(keys, copy=False), "dkeys")
    for name, parameter in layer.params.items():
        assert_is_gradient(layer.grads[name], loss, parameter, name)
    kept = {name: gradient.copy() for name, gradient in layer.grads.items()}
    backward(dcontext, dweights)
    for name, gradient in layer.grads.items():
        assert_close(gradient, 2 * kept[name], "float64", f"twice {name}")


@pytest.mark.parametrize("kind", KINDS)
def test_queries_one_by_one_go_back_as_all_at_once(kind):
    layer, query, keys, lengths = problem(kind)
    context, _, backward = layer.forward(query, keys, lengths)
    dcontext = np.random.default_rng(2).standard_normal(context.shape)
    dquery, dkeys = backward(dcontext)
    expected = {name: gradient.copy() for name, gradient in layer.grads.items()}
    layer.zero_grads()
    memory = layer.remember(keys, lengths)
    for one, d, done in zip(query, dcontext, dquery):
        found, nothing = layer.forward(one, memory)[2](d)
        assert nothing is None
        assert_close(found, done, "float64", "dquery")
    assert_close(memory.backward(), dkeys, "float64", "dkeys")
    assert not memory.backward().any(), "all that had gone back was given already"
    for name, gradient in layer.grads.items():
        assert_close(gradient, expected[name], "float64", name)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("single", [False, True], ids=["steps", "single"])
def test_gradients_same_on_both_devices(single, kind, dtype):
    layer, *numbers = problem(kind, dtype, A=35, Q=33)
    values, found = layer.state_dict(), []
    # The CPU's in float64: a better measure, and fewer kernels to compile.
    for device, precision in (("cpu", "float64"), ("cuda", dtype)):
        layer = problem(kind, precision, A=35, Q=33, device=device)[0]
        layer.load_state_dict(values)
        query, keys = (a.astype(precision) for a in numbers[:2])
        query, lengths = query[0].copy() if single else query, numbers[2]
        rng = np.random.default_rng(2)
        context, weights, backward = layer.forward(put(query, device), put(keys, device), lengths)
        dcontext, dweights = (
            put(rng.standard_normal(a.shape).astype(dtype).astype(precision), device)
            for a in (context, weights)
        )
        dquery, dkeys = backward(dcontext, dweights)
        found.append({"dquery": dquery, "dkeys": dkeys, **layer.grads})
    assert found[0]["dquery"].shape == query.shape and found[0]["dkeys"].shape == keys.shape
    for name, expected in found[0].items():
        assert_close(found[1][name], expected, dtype, name)


@pytest.mark.parametrize("kind", KINDS)
def test_same_as_pytorch(kind):
    torch = pytest.importorskip("torch")
    layer, query, keys, lengths = problem(kind, "float32", Tq=3)
    keys = np.nan_to_num(keys)
    q, k = (torch.tensor(a.astype("float64"), requires_grad=True) for a in (query, keys))
    p = {n: torch.tensor(a.astype("float64"), requires_grad=True) for n, a in layer.params.items()}
    if kind == "additive":
        sums = (q @ p["weight_query"].T)[:, :, None] + (k @ p["weight_key"].T).transpose(0, 1)
        scores = torch.tanh(sums) @ p["weight_score"]
    else:
        left = q @ p["weight"] if kind == "general" else q
        scores = torch.einsum("ibk,jbk->ibj", left, k)
    past = torch.arange(len(keys)) >= torch.tensor(lengths)[:, None]
    expected = torch.einsum("ibj,jbk->ibk", scores.masked_fill(past, -torch.inf).softmax(-1), k)
    context, _, backward = layer.forward(query, keys, lengths)
    assert_close(context, expected.detach().numpy(), "float32", "context")
    dcontext = np.random.default_rng(2).standard_normal(context.shape).astype("float32")
    dquery, dkeys = backward(dcontext)
    expected.backward(torch.tensor(dcontext))
    assert_close(dquery, q.grad.numpy(), "float32", "dquery")
    assert_close(dkeys, k.grad.numpy(), "float32", "dkeys")
    for name, parameter in p.items():
        assert_close(layer.grads[name], parameter.grad.numpy(), "float32", name)


def test_large_scores(device):
    layer = gpurnn.Attention(2, 2, kind="dot", device=device)
    query = put(np.full((1, 1, 2), 1e4, "float32"), device)
    keys = put(np.array([[[1e4, 1e4]], [[-1e4, -1e4]], [[1e4, 1e4]]], "float32"), device)
    context, weights = layer(query, keys)
    np.testing.assert_allclose(get(weights), [[[0.5, 0, 0.5]]])
    np.testing.assert_allclose(get(context), [[[1e4, 1e4]]])


def test_refuses():
    layer, query, keys, lengths = problem("additive")
    for error, named, arguments in (
        (ValueError, r"query: expected \(Tq, 3, 5\)", (query[..., :4], keys)),
        (ValueError, r"query: expected \(Tq, 3, 5\)", (query[:, :2], keys)),
        (ValueError, r"query: expected \(3, 5\)", (query[0, :2], keys)),
        (ValueError, "query: expected at least one step", (query[:0], keys)),
        (TypeError, "query: expected float64", (query.astype("float32"), keys)),
        (ValueError, r"keys: expected \(Tk, B, 4\)", (query, keys[..., :3])),
        (ValueError, "keys: expected at least one step", (query, keys[:0])),
        (ValueError, "lengths: expected 1 to 9, got 10", (query, keys, [9, 10, 1])),
        (ValueError, "lengths: expected 1 to 9, got 0", (query, keys, [9, 0, 1])),
        (TypeError, "lengths: expected integers", (query, keys, lengths * 1.0)),
        (ValueError, "lengths: expected None", (query, layer.remember(keys), lengths)),
    ):
        with pytest.raises(error, match=named):
            layer(*arguments)
    backward = layer.forward(query, keys, lengths)[2]
    with pytest.raises(ValueError, match=r"dcontext: expected \(7, 3, 4\)"):
        backward(np.zeros((7, 3, 5)))
    with pytest.raises(ValueError, match=r"dweights: expected \(7, 3, 9\)"):
        backward(np.zeros((7, 3, 4)), np.zeros((7, 3, 8)))
    for arguments, options, named in (
        ((0, 2), {}, "query_size"),
        ((2, 3), {"kind": "dot"}, "key_size: expected query_size, 2, for 'dot', got 3"),
        ((2, 3), {"kind": "luong"}, "kind: expected one of additive, dot, general"),
        ((2, 3), {"kind": "general", "attention_size": 3}, "attention_size: expected None"),
        ((2, 3), {"attention_size": 0}, "attention_size"),
    ):
        with pytest.raises(ValueError, match=named):
            gpurnn.Attention(*arguments, **options)
