"""Copies for inference whose weights are packed once."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu import few_sequences
from tests.cases import as_parts

I, H = 5, 37
LAYERS = {
    "lstm": lambda **o: gpurnn.LSTM(I, H, rng=0, **o),
    "gru": lambda **o: gpurnn.GRU(I, H, rng=0, **o),
    "gru before": lambda **o: gpurnn.GRU(I, H, reset_after=False, rng=0, **o),
    "rnn": lambda **o: gpurnn.RNN(I, H, rng=0, **o),
    "two layers, both ways": lambda **o: gpurnn.LSTM(
        I, H, num_layers=2, bidirectional=True, rng=0, **o
    ),
    "no bias": lambda **o: gpurnn.GRU(I, H, bias=False, rng=0, **o),
    "peepholes": lambda **o: gpurnn.LSTM(I, H, peepholes=True, rng=0, **o),
    "projected": lambda **o: gpurnn.LSTM(I, H, proj_size=9, rng=0, **o),
    "heads": lambda **o: gpurnn.GRU(I, 36, num_heads=2, rng=0, **o),
    "normalised": lambda **o: gpurnn.LSTM(I, H, layer_norm=True, rng=0, **o),
}


def sequences(steps, batch, dtype="float32"):
    return np.random.default_rng(1).standard_normal((steps, batch, I)).astype(dtype)


def check_same(got, expected):
    tolerance = 1e-12 if got[0].dtype == "float64" else 3e-6
    for one, other in zip((got[0], *as_parts(got[1])), (expected[0], *as_parts(expected[1]))):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("panels", [False, True], ids=["as it lies", "recurrent panels"])
@pytest.mark.parametrize(
    "kind,dtype", [*((kind, "float32") for kind in LAYERS), ("gru before", "float64")]
)
def test_the_same_results(kind, dtype, panels, monkeypatch):
    """Of one step, of few sequences in one and in two blocks of inputs, of batches, of lengths."""
    if panels:
        monkeypatch.setattr(few_sequences, "BYTES_WORTH_PACKING", 0)
    layer = LAYERS[kind](dtype=dtype)
    frozen = layer.frozen()
    for steps, batch in ((1, 1), (1, 5), (3, 2), (20, 1), (70, 3), (4, 8)):
        x = sequences(steps, batch, dtype)
        _, state = layer(x)
        for _ in range(2):  # with panels made, and kept
            check_same(frozen(x, state), layer(x, state))
    lengths = [3, 1, 4]
    check_same(frozen(x[:, :3].copy(), None, lengths), layer(x[:, :3].copy(), None, lengths))


@pytest.mark.parametrize("kind", ["lstm", "gru before", "peepholes"])
def test_streams(kind):
    layer = LAYERS[kind]()
    ours, plain = layer.frozen().stream(2), layer.stream(2)
    for x in sequences(5, 2):
        np.testing.assert_allclose(ours.step(x), plain.step(x), rtol=0, atol=3e-6)


def test_units_of_a_large_step_are_shared(monkeypatch):
    """Bounds of the threads' units are those of panels."""
    monkeypatch.setattr(gpurnn.kernels.cpu.threads, "SMALL", 0)
    kept = gpurnn.get_num_threads()
    try:
        gpurnn.set_num_threads(3)
        for make in (LAYERS["lstm"], LAYERS["gru"], LAYERS["rnn"]):
            layer, x = make(), sequences(1, 2)
            check_same(layer.frozen()(x), layer(x))
    finally:
        gpurnn.set_num_threads(kept)


def test_a_copy_does_not_follow_the_layer():
    layer, x = LAYERS["lstm"](), sequences(20, 1)
    frozen = layer.frozen()
    before, _ = layer(x)
    for array in layer.params.values():
        array += 1
    np.testing.assert_allclose(frozen(x)[0], before, rtol=0, atol=3e-6)
    assert not frozen.params and list(frozen.state_dict()) == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_of_copies(copied):
    frozen, x = LAYERS["lstm"]().frozen(), sequences(20, 1)
    y, _ = frozen(x)
    other = copied(frozen)
    assert not any(weights.panels for weights in other._converted.values())  # for other vectors
    np.testing.assert_array_equal(other(x)[0], y)


def test_many_threads_at_once():
    """All of them pack at first; whatever a thread's frames tell of stays where it is."""
    layer, x = LAYERS["lstm"](), sequences(1, 1)
    expected, _ = layer(x)
    for _ in range(20):
        frozen = layer.frozen()
        with ThreadPoolExecutor(8) as pool:
            for y, _ in pool.map(lambda _: frozen(x), range(64)):
                np.testing.assert_allclose(y, expected, rtol=0, atol=3e-6)


def test_bad_use():
    with pytest.raises(TypeError, match="frozen: expected a layer with recurrent weights, got a"):
        gpurnn.MinGRU(3, 4).frozen()
    frozen = LAYERS["rnn"]().frozen()
    with pytest.raises(TypeError, match="forward: frozen weights are for inference"):
        frozen.forward(sequences(2, 1))
    with pytest.raises(ValueError, match="device: expected 'cpu' for frozen weights, got 'cuda'"):
        frozen.to("cuda")
    assert frozen.to("cpu") is frozen
    with pytest.raises(TypeError, match="reduced: expected a layer, got its copy with frozen"):
        frozen.reduced()
    with pytest.raises(TypeError, match="frozen: expected a layer, got its copy with reduced"):
        LAYERS["rnn"]().reduced().frozen()
    with pytest.raises(ValueError, match="x: expected"):
        frozen(np.zeros((1, 1, I + 1), np.float32))


@pytest.mark.cuda
def test_a_layer_on_cuda_has_no_frozen_copy():
    layer = LAYERS["rnn"]()
    layer.to("cuda")
    with pytest.raises(ValueError, match="frozen: expected a layer on 'cpu', got one on 'cuda'"):
        layer.frozen()
