"""The encoder-decoder: gradients, lengths, scheduled sampling, and its searches."""

import itertools

import numpy as np
import pytest

import gpurnn
from gpurnn.arrays import to_device, to_numpy

SOURCE = np.array([[1, 4, 0], [2, 4, 3], [0, 1, 1], [3, 2, 2]])
TARGET = np.array([[0, 1, 2], [2, 2, 1], [1, 0, 0]])
LENGTHS = [4, 2, 3], [2, 0, 3]


def small(**options):
    options = {"dtype": "float64", "rng": 3} | options
    model = gpurnn.EncoderDecoder(5, 3, 4, 6, **options)
    for parameter in model.params.values():  # more decided than at first
        parameter *= 2
    return model


def assert_gradients(model, loss):
    """Some of each parameter's, against finite differences of `loss()`."""
    rng, step = np.random.default_rng(5), 1e-6
    for name, parameter in model.params.items():
        flat = parameter.reshape(-1)
        for index in rng.choice(flat.size, 3, replace=False):
            kept, values = flat[index], []
            for sign in (1, -1):
                flat[index] = kept + sign * step
                values.append(float(loss()))
            flat[index] = kept
            expected = (values[0] - values[1]) / (2 * step)
            found = model.grads[name].reshape(-1)[index]
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "additive", "num_layers": 2},
        {"attention": "general", "cell": "gru", "num_layers": 2},
        {"attention": "dot", "bidirectional": False},
        {"input_feeding": True, "num_layers": 2},
        {"input_feeding": True, "attention": "additive", "cell": "gru"},
        {"order": "before", "attention": "additive", "cell": "gru", "num_layers": 2},
        {"order": "before", "input_feeding": True},
    ],
    ids=str,
)
def test_gradients_against_finite_differences(options):
    model = small(**options)
    loss, backward = model.loss(SOURCE, TARGET, *LENGTHS)
    assert loss.shape == () and loss.dtype == np.float64
    backward()
    assert_gradients(model, lambda: model.loss(SOURCE, TARGET, *LENGTHS)[0])


@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.4}, {"teacher_forcing": 0.3}, {"teacher_forcing": 0.3, "order": "before"}],
    ids=str,
)
def test_gradients_with_what_is_random(options):
    forcing = {"teacher_forcing": options.pop("teacher_forcing", 1.0)}
    model = small(num_layers=2, **options)
    before = model.rng.bit_generator.state

    def loss():
        model.rng.bit_generator.state = before
        return model.loss(SOURCE, TARGET, *LENGTHS, **forcing)

    loss()[1]()
    assert_gradients(model, lambda: loss()[0])
    assert float(loss()[0]) != float(model.loss(SOURCE, TARGET, *LENGTHS, **forcing)[0])


def bahdanau_loss(torch, model, p):
    """The loss of D. Bahdanau et al. 2015's decoder (section 3.1), sequence by sequence."""

    def gru(part, x, h):
        names = [f"{part}.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return torch.gru_cell(x, h, *(p[name] for name in names))

    total = 0
    for b, (n, m) in enumerate(zip(*LENGTHS)):
        h, keys = torch.zeros(1, 6, dtype=torch.float64), []
        for symbol in SOURCE[:n, b]:
            h = gru("encoder", p["source_embedding.weight"][symbol][None], h)
            keys.append(h)
        keys, begin = torch.cat(keys), model.target_size
        remembered = keys @ p["decoder.attention.weight_key"].T
        for fed, wanted in zip([begin, *TARGET[:m, b]], [*TARGET[:m, b], begin]):
            sums = h @ p["decoder.attention.weight_query"].T + remembered
            odds = (torch.tanh(sums) @ p["decoder.attention.weight_score"]).softmax(0)
            context = odds[None] @ keys
            embedded = p["target_embedding.weight"][fed][None]
            h = gru("decoder.recurrent", torch.cat([embedded, context], 1), h)
            joined = torch.cat([context, h], 1) @ p["decoder.combination.weight"].T
            attended = torch.tanh(joined + p["decoder.combination.bias"])
            logits = attended @ p["output.weight"].T + p["output.bias"]
            total = total - logits.log_softmax(1)[0, wanted]
    return total / (sum(LENGTHS[1]) + len(LENGTHS[1]))


def test_attention_before_the_recurrence_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    model = small(cell="gru", order="before", attention="additive", bidirectional=False)
    loss, backward = model.loss(SOURCE, TARGET, *LENGTHS)
    backward()
    p = {name: torch.tensor(a, requires_grad=True) for name, a in model.params.items()}
    expected = bahdanau_loss(torch, model, p)
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    for name, gradient in model.grads.items():
        np.testing.assert_allclose(gradient, p[name].grad, atol=1e-12, err_msg=name)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "options",
    [
        {"attention": "additive"},
        {"cell": "gru", "input_feeding": True},
        {"cell": "gru", "order": "before"},
    ],
    ids=str,
)
def test_same_on_both_devices(options):
    found = []
    for device in ("cpu", "cuda"):
        model = small(**options).to(device)
        source, target = (to_device(a, device) for a in (SOURCE, TARGET))
        loss, backward = model.loss(source, target, *LENGTHS)
        backward()
        searched = model.beam_search(source, 4, LENGTHS[0], max_length=4)
        searched.append(model.greedy(source, LENGTHS[0]))
        mixed = model.loss(source, target, *LENGTHS, teacher_forcing=0.5)[0]
        grads = {name: to_numpy(gradient) for name, gradient in model.grads.items()}
        found.append((float(loss), float(mixed), grads, searched))
    (loss, mixed, grads, searched), (other_loss, other_mixed, other_grads, other) = found
    assert other_loss == pytest.approx(loss, rel=1e-10)
    assert other_mixed == pytest.approx(mixed, rel=1e-10)
    for name, gradient in grads.items():
        np.testing.assert_allclose(other_grads[name], gradient, atol=1e-10, err_msg=name)
    for of, others in zip(searched, other):
        for a, b in zip(of, others, strict=True):
            assert np.array_equal(a.tokens, b.tokens) and a.score == pytest.approx(b.score)
            np.testing.assert_allclose(a.attention, b.attention, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"input_feeding": True}, {"order": "before"}], ids=str)
def test_lengths_are_those_of_the_sequences_alone(options):
    """The loss of a batch is that of its sequences one by one, and padding may hold anything."""
    model = small(**options)
    total, symbols = 0.0, 0
    for b, (n, m) in enumerate(zip(*LENGTHS)):
        alone, _ = model.loss(SOURCE[:n, b : b + 1], TARGET[:m, b : b + 1])
        total, symbols = total + float(alone) * (m + 1), symbols + m + 1
    source, target = SOURCE.copy(), TARGET.copy()
    source[np.arange(4)[:, None] >= LENGTHS[0]] = 99
    target[np.arange(3)[:, None] >= LENGTHS[1]] = -99
    assert float(model.loss(source, target, *LENGTHS)[0]) == pytest.approx(total / symbols)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize(
    "options", [{"cell": "gru"}, {"input_feeding": True}, {"order": "before"}], ids=str
)
def test_a_wide_beam_finds_all_sequences(options, penalty):
    """Every sequence of up to three symbols, with the score that the loss gives it."""
    model = small(**options)
    decoded = model.beam_search(SOURCE, 60, LENGTHS[0], max_length=3, length_penalty=penalty)
    every = [t for n in range(4) for t in itertools.product(range(3), repeat=n)]
    for b, hypotheses in enumerate(decoded):
        source = SOURCE[: LENGTHS[0][b], b : b + 1]
        assert sorted(tuple(h.tokens) for h in hypotheses) == sorted(every)
        ranks = [h.score / (len(h.tokens) + 1) ** penalty for h in hypotheses]
        assert ranks == sorted(ranks, reverse=True)
        for tokens, score, attention in hypotheses[::9]:
            target = tokens.reshape(-1, 1)
            loss, _ = model.loss(source, target)
            assert -score == pytest.approx(float(loss) * (len(tokens) + 1))
            assert attention.shape == (len(tokens) + 1, len(source))
            np.testing.assert_allclose(attention.sum(1), 1)


def test_searches_agree():
    model = small(num_layers=2)
    greedy = model.greedy(SOURCE, LENGTHS[0], max_length=5)
    best = model.beam_search(SOURCE, 600, LENGTHS[0], max_length=5)
    narrow = model.beam_search(SOURCE, 1, LENGTHS[0], max_length=5)
    for b, found in enumerate(greedy):
        assert len(found.tokens) <= 5 and len(found.attention) == len(found.tokens) + 1
        loss, _ = model.loss(SOURCE[: LENGTHS[0][b], b : b + 1], found.tokens[:, None])
        assert -found.score == pytest.approx(float(loss) * (len(found.tokens) + 1))
        # A beam of one goes the same way, and may go on after the end.
        assert found.score <= narrow[b][0].score + 1e-12 <= best[b][0].score + 1e-9
        # The search stopped early, but not too early.
        some = model.beam_search(SOURCE, 20, LENGTHS[0], max_length=5)[b]
        assert some[0].score == pytest.approx(best[b][0].score)
        assert len(some) == 20


def test_scheduled_sampling_draws_what_the_model_says():
    model = small()
    fed, _ = model._shift(np.tile(TARGET, 400), np.full(1200, 3))
    sources, lengths = np.tile(SOURCE, 400), np.full(1200, 4)
    mixed = model._mix(fed, 0.0, sources, lengths)
    logits, _ = model._stepper(SOURCE, np.full(3, 4))(np.full(3, 3), np.arange(3))
    odds = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(1, keepdims=True)
    drawn = np.stack([np.bincount(mixed[1, b::3], minlength=3) / 400 for b in range(3)])
    # 400 draws: a standard deviation of 0.025 at most.
    np.testing.assert_allclose(drawn, odds, atol=0.1)
    assert np.all(mixed[0] == 3)
    assert np.array_equal(model._mix(fed, 1.0, sources, lengths), fed)


@pytest.mark.parametrize(
    ("error", "named", "changed"),
    [
        (TypeError, "source: expected integers", {"source": SOURCE * 1.0}),
        (ValueError, r"source: expected \(Ts, B\)", {"source": SOURCE[0]}),
        (ValueError, "source: expected 0 to 4, got 5", {"source": SOURCE + 1}),
        (ValueError, "target: expected 0 to 2, got 3", {"target": TARGET + 1}),
        (ValueError, r"target: expected \(Tt, 3\)", {"target": TARGET[:, :2]}),
        (ValueError, "source_lengths: expected 1 to 4, got 0", {"source_lengths": [4, 0, 1]}),
        (ValueError, "target_lengths: expected 0 to 3, got 4", {"target_lengths": [4, 0, 1]}),
        (ValueError, "teacher_forcing: expected 0 to 1", {"teacher_forcing": 1.5}),
    ],
)
def test_bad_input(error, named, changed):
    with pytest.raises(error, match=named):
        small().loss(**({"source": SOURCE, "target": TARGET} | changed))


def test_bad_options():
    model = small()
    for named, call in (
        ("width", lambda: model.beam_search(SOURCE, 0)),
        ("max_length", lambda: model.greedy(SOURCE, max_length=0)),
        ("length_penalty", lambda: model.beam_search(SOURCE, 2, length_penalty=-1)),
        ("cell: expected one of lstm, gru", lambda: small(cell="rnn")),
        ("kind: expected one of", lambda: small(attention="luong")),
        ("order: expected one of after, before", lambda: small(order="during")),
        ("hidden_size: expected an even", lambda: gpurnn.EncoderDecoder(5, 3, 4, 7)),
        ("dropout", lambda: small(dropout=1)),
        ("target_size", lambda: gpurnn.EncoderDecoder(5, 0, 4, 6)),
    ):
        with pytest.raises(ValueError, match=named):
            call()
