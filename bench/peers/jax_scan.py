"""JAX: `lax.scan` over the steps, compiled by XLA; input products are one product ahead of it.

Of several ways to write it, each case gets the quickest (`fastest`): the scan unrolled or not,
and in training the gradient by the recurrent weights either added up step by step, as JAX's own
transposition of the scan does, or as one product after it (twice as fast for large weights).
"""

from functools import cache, partial
from importlib.util import find_spec

import numpy as np

from bench.prepared import Prepared, fastest

NAME = "jax"
MODES = ("inference", "training", "stream")
UNROLLED = 4  # steps; 2 and 8 were no better over the default shapes


def absent(device):
    if device != "cpu":
        return "only its CPU build is driven here"
    return None if find_spec("jax") is not None else "not installed"


def rnn(inputs, recurrent, state):
    import jax.numpy as jnp

    return (jnp.tanh(inputs + recurrent),)


def lstm(inputs, recurrent, state):
    import jax
    import jax.numpy as jnp

    i, f, g, o = jnp.split(inputs + recurrent, 4, axis=-1)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(inputs, recurrent, state):
    import jax
    import jax.numpy as jnp

    x_r, x_z, x_n = jnp.split(inputs, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    return (n + z * (state[0] - n),)


CELLS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def zero_state(cell, batch, hidden):
    import jax.numpy as jnp

    return (jnp.zeros((batch, hidden), jnp.float32),) * (2 if cell == "lstm" else 1)


def recurrence(cell, unroll, state, inputs, w_hh, b_hh):
    """(final state, outputs (T, B, H)) from the initial state and input products (T, B, G H)."""
    import jax

    def step(state, now):
        state = CELLS[cell](now, state[0] @ w_hh + b_hh, state)
        return state, state[0]

    return jax.lax.scan(step, state, inputs, unroll=unroll)


@cache
def recurrence_with_one_product(cell):
    """As `recurrence`; backward takes the weights' gradient in one product over all steps."""
    import jax
    import jax.numpy as jnp

    def forward(state, inputs, w_hh, b_hh):
        def run(state, inputs, addends):  # the addends' gradients are the recurrent products'
            def step(state, now):
                state = CELLS[cell](now[0], state[0] @ w_hh + b_hh + now[1], state)
                return state, state[0]

            return jax.lax.scan(step, state, (inputs, addends))

        (final, y), back = jax.vjp(run, state, inputs, jnp.zeros_like(inputs))
        return (final, y), (back, jnp.concatenate([state[0][None], y[:-1]]))

    def backward(kept, gradients):
        back, before = kept
        dstate, dinputs, dproducts = back(gradients)
        dw_hh = jnp.einsum("tbh,tbg->hg", before, dproducts)
        return dstate, dinputs, dw_hh, dproducts.sum((0, 1))

    function = jax.custom_vjp(partial(recurrence, cell, 1))
    function.defvjp(forward, backward)
    return function


def prepare(case, mode, device, threads):
    import jax

    weights, x, dy = case.numbers()
    parameters = tuple(jax.numpy.asarray(value.T) for value in weights.values())
    x, dy = jax.numpy.asarray(x), jax.numpy.asarray(dy)
    jitted = [jax.jit(function) for function in _functions(case, mode)]
    if mode == "stream":
        run = _stream(jitted[0], parameters, x[0], zero_state(case.cell, case.B, case.H))
    elif mode == "inference":
        run = fastest(*(partial(_calling, way, parameters, x) for way in jitted))
    else:
        run = fastest(*(partial(_calling, way, parameters, x, dy) for way in jitted))
    return Prepared(run, lambda a: np.asarray(a).T if a.ndim == 2 and mode == "training" else a)


def _functions(case, mode):
    """The ways to do it, not yet compiled."""
    import jax

    unrolls = (1, UNROLLED) if case.T >= UNROLLED else (1,)
    plain = [partial(recurrence, case.cell, unroll) for unroll in unrolls]

    def outputs(run, parameters, x):
        w_ih, w_hh, b_ih, b_hh = parameters
        state = zero_state(case.cell, case.B, case.H)
        return run(state, x @ w_ih + b_ih, w_hh, b_hh)[1]

    def inference(run, parameters, x):
        return (outputs(run, parameters, x),)

    def training(run, parameters, x, dy):
        y, back = jax.vjp(partial(outputs, run), parameters, x)
        dparameters, dx = back(dy)
        return y, dx, *dparameters

    def step(parameters, x, state):
        w_ih, w_hh, b_ih, b_hh = parameters
        return CELLS[case.cell](x @ w_ih + b_ih, state[0] @ w_hh + b_hh, state)

    if mode == "stream":
        return [step]
    if mode == "inference":
        return [partial(inference, run) for run in plain]
    return [partial(training, run) for run in (plain[0], recurrence_with_one_product(case.cell))]


def _calling(function, *arguments):
    import jax

    return lambda: jax.block_until_ready(function(*arguments))


def _stream(step, parameters, x, state):
    def run():
        nonlocal state
        state = step(parameters, x, state)
        return (state[0].block_until_ready(),)

    return run
