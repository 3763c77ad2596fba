"""Learning-rate schedules.

A schedule holds the optimizer and sets its `lr`: call it with the number of the step that comes
next, from 0 on (`ReduceOnPlateau`: with the metric that was just measured).
"""

import math


class Schedule:
    """A rate that depends on the step only; `base_lr` is the optimizer's when the schedule is made.

    `state_dict` holds all of the schedule's numbers, the settings too: loading replaces them.
    """

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.base_lr = optimizer.lr

    def rate(self, step):
        """The learning rate of step `step`."""
        raise NotImplementedError

    def __call__(self, step):
        self.optimizer.lr = self.rate(step)

    def state_dict(self):
        """The schedule's numbers by name."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state):
        """Take up a `state_dict`; ValueError if it is another schedule's."""
        mine = self.state_dict()
        if state.keys() != mine.keys():
            raise ValueError(f"state: expected {sorted(mine)}, got {sorted(state)}")
        vars(self).update(state)


class Constant(Schedule):
    """Always the optimizer's own rate."""

    def rate(self, step):
        return self.base_lr


class Cosine(Schedule):
    """Linear warm-up to the optimizer's rate, then half a cosine down to `floor`.

    `total_steps` counts the warm-up; from there on the rate is `floor`. Source: Loshchilov &
    Hutter (2017), without restarts.
    """

    def __init__(self, optimizer, total_steps, warmup_steps=0, floor=0.0):
        super().__init__(optimizer)
        if total_steps < 1:
            raise ValueError(f"total_steps: expected at least 1, got {total_steps!r}")
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps: expected 0 to total_steps - 1 = {total_steps - 1}, "
                f"got {warmup_steps!r}"
            )
        if not 0 <= floor <= self.base_lr:
            raise ValueError(f"floor: expected 0 to the rate {self.base_lr}, got {floor!r}")
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.floor = floor

    def rate(self, step):
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        fall = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return self.floor + (self.base_lr - self.floor) * fall


class Step(Schedule):
    """The optimizer's rate, times `gamma` after every `step_size` steps (PyTorch's StepLR)."""

    def __init__(self, optimizer, step_size, gamma=0.1):
        super().__init__(optimizer)
        if step_size < 1:
            raise ValueError(f"step_size: expected at least 1, got {step_size!r}")
        if not gamma > 0:
            raise ValueError(f"gamma: expected a number above 0, got {gamma!r}")
        self.step_size = step_size
        self.gamma = gamma

    def rate(self, step):
        return self.base_lr * self.gamma ** (step // self.step_size)


class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when the metric has not improved for `patience` measurements.

    Called with the metric, not with the step. PyTorch's arguments and rules: better means by
    more than `threshold`, relative to the best's size ("rel") or absolute ("abs"); after a
    reduction `cooldown` measurements do not count; a change of the rate below `eps` is not made.
    """

    def __init__(
        self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4,
        threshold_mode="rel", cooldown=0, min_lr=0.0, eps=1e-8,
    ):  # fmt: skip
        super().__init__(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode: expected 'rel' or 'abs', got {threshold_mode!r}")
        if not 0 < factor < 1:
            raise ValueError(f"factor: expected a number between 0 and 1, got {factor!r}")
        if patience < 0:
            raise ValueError(f"patience: expected 0 or more, got {patience!r}")
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.eps = eps
        self.best = None
        self.bad_count = 0
        self.cooldown_left = 0

    def _is_better(self, metric):
        if self.best is None:
            return not math.isnan(metric)
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        if self.mode == "min":
            return metric < self.best - margin
        return metric > self.best + margin

    def __call__(self, metric):
        metric = float(metric)
        if self._is_better(metric):
            self.best = metric
            self.bad_count = 0
        else:
            self.bad_count += 1
        if self.cooldown_left > 0:
            self.cooldown_left -= 1
            self.bad_count = 0
        if self.bad_count > self.patience:
            reduced = max(self.optimizer.lr * self.factor, self.min_lr)
            if self.optimizer.lr - reduced > self.eps:
                self.optimizer.lr = reduced
            self.cooldown_left = self.cooldown
            self.bad_count = 0
