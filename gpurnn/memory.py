"""Who remembers how far: networks trained on tasks whose answer lies ever longer ago.

Hochreiter & Schmidhuber (1997) posed the tasks, Bengio, Simard & Frasconi (1994) told why the
simple network fails: the gradient that should teach it to remember vanishes on its way back.
"""

import math
import time
from dataclasses import asdict, dataclass

import numpy as np

from gpurnn.analysis import gradient_norms
from gpurnn.arrays import module_of, to_device
from gpurnn.data.memory_tasks import adding_problem, copy_task
from gpurnn.layers import GRU, LSTM, RNN, Linear
from gpurnn.layers.assembly import Assembly
from gpurnn.learning.clipping import clip_grad_norm
from gpurnn.learning.losses import mean_squared_error, softmax_cross_entropy
from gpurnn.learning.optimizers import Adam

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
HELD_OUT, BETWEEN = 512, 50  # sequences to judge by, and the updates between two judgements
SOLVED = 0.1  # of what it costs to remember nothing


class Adding:
    """The adding problem; its lag is T. The loss is the mean squared error."""

    inputs, outputs, answers = 2, 1, 1
    baseline, baseline_name = 1 / 6, "always 1"
    loss = staticmethod(mean_squared_error)

    @staticmethod
    def draw(lag, batch, rng, dtype):
        """x (T, B, 2) and the answer (1, B, 1)."""
        x, target = adding_problem(lag, batch, rng, dtype)
        return x, target[None]


class Copy:
    """The copy task with 3 of 8 symbols; the loss is in nats a symbol of the answer."""

    symbols, answers = 8, 3
    inputs, outputs = symbols + 2, symbols
    baseline, baseline_name = math.log(symbols), "a guess"
    loss = staticmethod(softmax_cross_entropy)

    @classmethod
    def draw(cls, lag, batch, rng, dtype):
        """x (T, B, 10), one-hot, and the answer (3, B)."""
        codes, targets = copy_task(lag, batch, rng, length=cls.answers, symbols=cls.symbols)
        return np.eye(cls.inputs, dtype=dtype)[codes], targets[-cls.answers :]


TASKS = {"adding": Adding, "copy": Copy}


@dataclass(frozen=True)
class Training:
    """How each network is trained."""

    hidden: int = 32
    batch: int = 32
    updates: int = 1500
    lr: float = 1e-2
    clip: float = 1.0
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"


class Answering(Assembly):
    """A recurrent layer, and a linear one that answers over the last steps.

    An LSTM's forget gates begin open, with a bias of 1 (Gers et al. 2000).
    """

    def __init__(self, cell, task, training):
        super().__init__(training.dtype, training.device, training.seed)
        options = {"dtype": training.dtype, "device": training.device, "rng": self.rng}
        self.answers, hidden = task.answers, training.hidden
        self.recurrent = CELLS[cell](task.inputs, hidden, **options)
        self.readout = Linear(hidden, task.outputs, **options)
        if cell == "lstm":
            self.recurrent.params["bias_ih_l0"][hidden : 2 * hidden] = 1
        self._assemble({"recurrent": self.recurrent, "readout": self.readout})

    def __call__(self, x):
        """x (T, B, I) -> the answer (answers, B, O); keeps nothing."""
        return self.readout(self.recurrent(x)[0][-self.answers :])

    def forward(self, x):
        """As a call; also returns ``backward(danswer)``, which adds into `grads`."""
        h, _, recurrent_backward = self.recurrent.forward(x)
        answer, readout_backward = self.readout.forward(h[-self.answers :])

        def backward(danswer):
            dh = module_of(self.device).zeros_like(h)
            dh[-self.answers :] = readout_backward(danswer)
            recurrent_backward(dh)

        return answer, backward


def measure(task_name, cell, lag, training, progress=lambda loss: None):
    """Train one network on one task; what became of it, as a dict of plain values.

    It stops when the loss on held-out sequences falls below a tenth of what it costs to
    remember nothing ("solved"), else after `training.updates`, or where the loss is no longer
    finite. `progress` is called after every update with the last held-out loss.
    "gradient_norms", T + 1 numbers, are those of the trained network by lag (`gradient_norms`),
    the median of 32 sequences.
    """
    task, rng = TASKS[task_name], np.random.default_rng(training.seed)

    def draw(count):
        drawn = task.draw(lag, count, rng, training.dtype)
        return [to_device(array, training.device) for array in drawn]

    network, (x, answers) = Answering(cell, task, training), draw(HELD_OUT)
    optimizer, began = Adam(network, lr=training.lr), time.perf_counter()
    held_out = float(task.loss(network(x), answers)[0])
    for update in range(1, training.updates + 1):
        _learn(network, task, optimizer, draw(training.batch), training.clip)
        if update % BETWEEN == 0 or update == training.updates:
            held_out = float(task.loss(network(x), answers)[0])
        progress(held_out)
        if not held_out >= SOLVED * task.baseline:  # or NaN
            break
    norms = gradient_norms(network.recurrent, module_of(training.device).copy(x[:, :32]))
    return asdict(training) | {
        "task": task_name, "cell": cell, "lag": lag, "held_out": held_out,
        "baseline": task.baseline, "solved": held_out < SOLVED * task.baseline,
        "updates_taken": update, "seconds": round(time.perf_counter() - began, 2),
        "gradient_norms": np.median(norms, axis=1).tolist(),
    }  # fmt: skip


def _learn(network, task, optimizer, batch, clip):
    x, answers = batch
    network.zero_grads()
    answer, backward = network.forward(x)
    backward(task.loss(answer, answers)[1])
    clip_grad_norm(network, clip)
    optimizer.step()
