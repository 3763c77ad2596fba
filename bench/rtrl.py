"""`python -m bench.rtrl`: learning online, a step of each method, beside RTRL in NumPy.

A step is `step` and `learn`: forward, influence, and the gradient of one loss. "GFLOP/s" is the
operation count of exact RTRL's product, 2 B S H² by parameters, by the whole step's time, and
"product" the rate of the very same batched product in NumPy (BLAS). NumPy's step does the same
as ours with the same structure (only rows of the transition that are not zero, the immediate
influence added where it is), its influence multiplied by BLAS, whose threads are its own
(OPENBLAS_NUM_THREADS). Results are compared first; then peers take turns in each round, and the
best of the rounds is shown: a step is short, and what else a machine does only makes it longer.
"""

import argparse
import time

import numpy as np

import gpurnn

SIZES = [(1, 16, 16), (1, 32, 64), (1, 32, 128), (8, 32, 32), (32, 16, 16)]  # B, I, H
PAUSE_SECONDS = 0.05  # OpenBLAS's threads wait for more work some 25 ms, at full speed
CELLS = {"rnn": gpurnn.RNN, "lstm": gpurnn.LSTM, "gru": gpurnn.GRU}


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _rnn(a, u, state):
    """(new states, d new / d gate by input and by hidden products, d new / d old), per unit."""
    h = np.tanh(a + u)
    slope = (1 - h * h)[None, None, 0]
    return h, slope, slope, np.zeros_like(h)[None]


def _lstm(a, u, state):
    i, f, o = (_sigmoid((a + u)[gate]) for gate in (0, 1, 3))
    g = np.tanh((a + u)[2])
    c = f * state[1] + i * g
    squashed, zero = np.tanh(c), np.zeros_like(c)
    by_c = np.array([g * i * (1 - i), state[1] * f * (1 - f), i * (1 - g * g), zero])
    through = o * (1 - squashed**2)
    by_h = through * by_c + np.array([zero, zero, zero, squashed * o * (1 - o)])
    by_gates = np.array([by_h, by_c])
    return (
        np.array([o * squashed, c]),
        by_gates,
        by_gates,
        np.array([[zero, through * f], [zero, f]]),
    )


def _gru(a, u, state):
    r, z = _sigmoid(a[0] + u[0]), _sigmoid(a[1] + u[1])
    n = np.tanh(a[2] + r * u[2])
    h = n + z * (state[0] - n)
    by_n = (1 - z) * (1 - n * n)
    by_x = np.array([[by_n * u[2] * r * (1 - r), (state[0] - n) * z * (1 - z), by_n]])
    by_h = by_x * np.array([np.ones_like(r), np.ones_like(r), r])
    return h[None], by_x, by_h, z[None, None]


class NumpyRTRL:
    """Exact RTRL of one layer; the influence is (S, B, H, parameters)."""

    def __init__(self, kind, layer, batch):
        self.cell = {"rnn": _rnn, "lstm": _lstm, "gru": _gru}[kind]
        self.params = {name: value for name, value in layer.params.items()}
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.gates, self.hidden = layer.cell.gates, layer.hidden_size
        count = sum(value.size for value in self.params.values())
        self.state = np.zeros((layer.cell.states, batch, self.hidden), "float32")
        self.influence = np.zeros((*self.state.shape, count), "float32")

    def step(self, x):
        """As `gpurnn.RTRL.step`."""
        w, u, b, c = self.params.values()
        states, batch, hidden = self.state.shape
        h, shape = self.state[0], (batch, self.gates, hidden)
        a = (x @ w.T + b).reshape(shape).swapaxes(0, 1)
        v = (h @ u.T + c).reshape(shape).swapaxes(0, 1)
        new, by_x, by_h, direct = self.cell(a, v, self.state)
        direct = direct.reshape(states, states, batch, hidden)
        transition = np.einsum("sgbk,gkj->sbkj", by_h, u.reshape(-1, hidden, hidden), optimize=True)
        unit = np.arange(hidden)
        transition[:, :, unit, unit] += direct[:, 0]
        influence = np.matmul(transition, self.influence[0])
        for other in range(1, states):
            influence += direct[:, other, :, :, None] * self.influence[other]
        first = 0
        for by, source in ((by_x, x), (by_h, h), (by_x, np.ones((batch, 1), "float32")),
                           (by_h, np.ones((batch, 1), "float32"))):  # fmt: skip
            width = source.shape[1]
            last = first + self.gates * hidden * width
            part = influence[..., first:last].reshape(
                states, batch, hidden, self.gates, hidden, width
            )
            part[:, :, unit, :, unit] += np.einsum("sgbk,bq->ksbgq", by, source)
            influence[..., first:last] = part.reshape(states, batch, hidden, -1)
            first = last
        self.state, self.influence = new, influence
        return new[0]

    def learn(self, dy):
        """As `gpurnn.RTRL.learn`."""
        gradient, first = dy.reshape(-1) @ self.influence[0].reshape(dy.size, -1), 0
        for total in self.grads.values():
            total += gradient[first : first + total.size].reshape(total.shape)
            first += total.size


def _check(kind, ours, theirs, layer, x, dy):
    for _ in range(3):
        a, b = ours.step(x), theirs.step(x)
        ours.learn(dy)
        theirs.learn(dy)
        assert np.allclose(a, b, atol=1e-5), kind
    for name, expected in theirs.grads.items():
        difference = np.max(np.abs(layer.grads[name] - expected)) / np.max(np.abs(expected))
        assert difference < 1e-4, f"{kind} {name}: differs by {difference:.3g}"


def _seconds(function, calls):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _case(kind, batch, inputs, hidden, rounds):
    rng = np.random.default_rng(0)
    layer = CELLS[kind](inputs, hidden, rng=0)
    x, dy = (rng.standard_normal((batch, n), np.float32) for n in (inputs, hidden))
    peers = {m: gpurnn.RTRL(layer, batch, m) for m in ("exact", "snap1", "rflo", "uoro")}
    peers["numpy"] = NumpyRTRL(kind, layer, batch)
    _check(kind, peers["exact"], peers["numpy"], layer, x, dy)

    def learner(peer):
        def once():
            peer.step(x)
            peer.learn(dy)

        return once

    a = rng.standard_normal((batch, layer.cell.states * hidden, hidden), np.float32)
    b = rng.standard_normal((batch, hidden, peers["numpy"].influence.shape[-1]), np.float32)
    out = np.empty((batch, a.shape[1], b.shape[2]), np.float32)
    functions = {name: learner(peer) for name, peer in peers.items()}
    functions["product"] = lambda: np.matmul(a, b, out=out)
    calls = {name: max(1, int(0.01 / _seconds(f, 2))) for name, f in functions.items()}
    samples = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            time.sleep(PAUSE_SECONDS)
            function()
            samples[name].append(_seconds(function, calls[name]))
    return 2 * out.size * hidden, {name: min(s) for name, s in samples.items()}


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=gpurnn.get_num_threads())
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=list(CELLS))
    options = parser.parse_args(arguments)
    gpurnn.set_num_threads(options.threads)
    print(f"threads: {gpurnn.get_num_threads()}; times in microseconds a step, float32")
    head = "cell    B   I   H    exact   GFLOP/s  product    snap1     rflo     uoro    numpy"
    print(f"{head}  numpy/exact")
    for kind in options.cells:
        for sizes in SIZES:
            operations, best = _case(kind, *sizes, options.rounds)
            times = [f"{best[m] * 1e6:8.0f}" for m in ("snap1", "rflo", "uoro", "numpy")]
            print(
                f"{kind:<5}" + "".join(f"{n:4d}" for n in sizes)
                + f" {best['exact'] * 1e6:8.0f} {operations / best['exact'] / 1e9:9.1f}"
                + f" {operations / best['product'] / 1e9:8.1f} " + " ".join(times)
                + f" {best['numpy'] / best['exact']:12.1f}",
                flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
