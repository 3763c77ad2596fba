"""The language model: gradients, states, dropout, generation, sampling."""

import numpy as np
import pytest

from gpurnn.arrays import to_device, to_numpy
from gpurnn.models.language_model import LanguageModel
from gpurnn.models.sampling import Sampler


def small(**options):
    options = {"dtype": "float64", "rng": 3} | options
    return LanguageModel(11, 4, 6, **options)


def chunk(seed=0, T=5, B=3, device="cpu"):
    codes = np.random.default_rng(seed).integers(0, 11, (T + 1, B)).astype(np.int32)
    return to_device(codes[:-1].copy(), device), to_device(codes[1:].copy(), device)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_against_finite_differences(cell):
    model = small(cell=cell, num_layers=2)
    inputs, targets = chunk()
    _, state = model.evaluate(*chunk(1))
    model.zero_grads()
    model.loss(inputs, targets, state)[2]()
    rng = np.random.default_rng(5)
    for name, parameter in model.params.items():
        flat, step = parameter.reshape(-1), 1e-6
        for index in rng.choice(flat.size, 3):
            kept, values = flat[index], []
            for sign in (1, -1):
                flat[index] = kept + sign * step
                values.append(float(model.evaluate(inputs, targets, state)[0]))
            flat[index] = kept
            expected = (values[0] - values[1]) / (2 * step)
            found = model.grads[name].reshape(-1)[index]
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-8), name


def test_loss_and_gradients_same_as_pytorch(device):
    torch = pytest.importorskip("torch")
    model = small(num_layers=2, device=device)
    inputs, targets = chunk(device=device)
    loss, _, backward = model.loss(inputs, targets)
    backward()
    twin = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(11, 4),
            "recurrent": torch.nn.LSTM(4, 6, 2),
            "output": torch.nn.Linear(6, 11),
        }
    ).double()
    twin.load_state_dict({n: torch.from_numpy(a) for n, a in model.state_dict().items()})
    x, wanted = (torch.from_numpy(to_numpy(a)).long() for a in (inputs, targets))
    logits = twin["output"](twin["recurrent"](twin["embedding"](x))[0])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-10)
    for name, parameter in twin.named_parameters():
        np.testing.assert_allclose(to_numpy(model.grads[name]), parameter.grad, atol=1e-10)


def test_carried_state_equals_the_whole(device):
    model = small(cell="gru", device=device)
    inputs, _ = chunk(T=7, device=device)
    whole, end = model(inputs)
    first, state = model(inputs[:3])
    second, state = model(inputs[3:], state)
    parts = np.concatenate([to_numpy(first), to_numpy(second)])
    # Sums may be in another order, by how many steps there are: some roundings of numbers around 1.
    np.testing.assert_allclose(parts, to_numpy(whole), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(to_numpy(state), to_numpy(end), rtol=1e-12, atol=1e-15)


def test_same_seed_same_model_and_parts_differ():
    first, second, other = small(rng=1), small(rng=1), small(rng=2)
    for name, array in first.params.items():
        assert np.array_equal(second.params[name], array)
        assert not np.array_equal(other.params[name], array)


def test_dropout_is_random_in_training_only_and_its_gradient_fits():
    model = small(num_layers=2, dropout=0.5)
    inputs, targets = chunk()
    assert model.evaluate(inputs, targets)[0] == model.evaluate(inputs, targets)[0]
    before = model.rng.bit_generator.state
    loss, _, backward = model.loss(inputs, targets)
    model.zero_grads()
    backward()
    assert float(loss) != float(model.loss(inputs, targets)[0])
    weight = model.params["embedding.weight"]
    code, step, values = int(inputs[0, 0]), 1e-6, []
    for sign in (1, -1):
        weight[code, 2] += sign * step
        model.rng.bit_generator.state = before
        values.append(float(model.loss(inputs, targets)[0]))
        weight[code, 2] -= sign * step
    expected = (values[0] - values[1]) / (2 * step)
    found = model.grads["embedding.weight"][code, 2]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_state_dict_there_and_back():
    first, second = small(rng=1), small(rng=2)
    second.load_state_dict(first.state_dict())
    inputs, _ = chunk()
    assert np.array_equal(first(inputs)[0], second(inputs)[0])
    broken = first.state_dict()
    broken["output.bias"] = np.zeros(12)
    with pytest.raises(ValueError, match="output.bias"):
        second.load_state_dict(broken)


def test_generating_step_by_step_is_what_the_whole_sequence_gives():
    model = small()
    prompt = [1, 2, 3]
    written = model.generate(prompt, 6, Sampler(temperature=0))
    sequence = np.array(prompt + list(written), np.int32)
    logits, _ = model(sequence[:, None])
    assert np.array_equal(np.argmax(logits[2:-1, 0], axis=-1), written)


def test_generating_is_repeatable():
    model = small()
    first, again, other = (model.generate([1], 30, Sampler(rng=seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(ValueError, match="prompt: expected"):
        model.generate([], 3)


def test_unknown_cell():
    with pytest.raises(ValueError, match="cell: expected one of rnn, lstm, gru, got 'ltsm'"):
        small(cell="ltsm")


LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15], dtype=np.float32))


def frequencies(**options):
    sampler = Sampler(rng=0, **options)
    return np.bincount([sampler(LOGITS) for _ in range(4000)], minlength=5) / 4000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.4, 0.05, 0.3, 0.15]),
        ({"temperature": 0.5}, np.array([1, 16, 0.25, 9, 2.25]) / 28.5),
        ({"temperature": 0}, [0, 1, 0, 0, 0]),
        ({"temperature": 1e-310}, [0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_k": 50}, [0.1, 0.4, 0.05, 0.3, 0.15]),
        ({"top_p": 0.6}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_p": 0.01}, [0, 1, 0, 0, 0]),
        ({"top_p": 1.0}, [0.1, 0.4, 0.05, 0.3, 0.15]),
        # Of the three likeliest, with 0.85 in all, the first two have 0.82.
        ({"top_k": 3, "top_p": 0.8}, [0, 4 / 7, 0, 3 / 7, 0]),
    ],
)
def test_sampler_draws_by_probability(options, expected):
    # 4000 draws: a standard deviation of 0.008 at most.
    np.testing.assert_allclose(frequencies(**options), expected, atol=0.03)


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"temperature": np.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 2}],
)
def test_sampler_refuses(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))}: expected"):
        Sampler(**options)
