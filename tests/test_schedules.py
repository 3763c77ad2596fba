"""Learning-rate schedules: their shape, PyTorch's where it has them, resuming."""

import math

import pytest

from gpurnn.learning.schedules import Constant, Cosine, ReduceOnPlateau, Step


class Optimizer:
    def __init__(self, lr=0.4):
        self.lr = lr


def rates(schedule, steps):
    seen = []
    for step in steps:
        schedule(step)
        seen.append(schedule.optimizer.lr)
    return seen


def test_constant():
    assert rates(Constant(Optimizer()), range(3)) == [0.4] * 3


def test_cosine_warms_up_falls_and_stays_at_its_floor():
    schedule = Cosine(Optimizer(), total_steps=14, warmup_steps=4, floor=0.1)
    seen = rates(schedule, range(17))
    assert seen[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert seen[9] == pytest.approx((0.4 + 0.1) / 2)
    assert all(later < sooner for sooner, later in zip(seen[4:14], seen[5:15]))
    assert seen[14:] == pytest.approx([0.1] * 3)


def test_cosine_and_step_same_as_pytorch():
    torch = pytest.importorskip("torch")
    for ours, theirs in (
        (
            Cosine(Optimizer(), total_steps=20, floor=0.05),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, 0.05),
        ),
        (
            Step(Optimizer(), step_size=3, gamma=0.5),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
        ),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
        schedule = theirs(optimizer)
        expected = []
        for _ in range(20):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates(ours, range(20)) == pytest.approx(expected)


METRICS = [5, 4, 4, 4.001, 3.9999, 3.5, 3.6, 3.6, 3.6, 3.6, 3.6, 3.6, 3.4, 3.5, 3.5, 3.5, 3.5, 3.5]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_same_as_pytorch(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    options = {
        "mode": mode, "factor": 0.5, "patience": 1, "threshold": 0.01, "cooldown": 1,
        "threshold_mode": threshold_mode, "min_lr": 0.03,
    }  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    expected = []
    for metric in METRICS:
        theirs.step(metric)
        expected.append(optimizer.param_groups[0]["lr"])
    assert min(expected) == 0.03
    assert rates(ReduceOnPlateau(Optimizer(), **options), METRICS) == expected


def test_plateau_is_not_blinded_by_nan():
    schedule = ReduceOnPlateau(Optimizer(), factor=0.5, patience=1)
    assert rates(schedule, [math.nan, 2.0, math.nan, 1.0]) == [0.4] * 4
    assert rates(schedule, [math.nan, math.nan]) == [0.4, 0.2]


@pytest.mark.parametrize(
    "make",
    [
        Constant,
        lambda o: Cosine(o, total_steps=18, warmup_steps=5),
        lambda o: Step(o, step_size=4),
        lambda o: ReduceOnPlateau(o, factor=0.5, patience=1),
    ],
)
def test_loaded_state_continues(make):
    whole, first = make(Optimizer()), make(Optimizer())
    for call in METRICS:
        whole(call)
    for call in METRICS[:7]:
        first(call)
    second = make(Optimizer(lr=0.01))
    second.optimizer.lr = first.optimizer.lr  # what the optimizer's own state restores
    second.load_state_dict(first.state_dict())
    for call in METRICS[7:]:
        second(call)
    assert second.optimizer.lr == whole.optimizer.lr
    assert second.state_dict() == whole.state_dict()


def test_another_schedules_state_is_refused():
    with pytest.raises(ValueError, match="state: expected"):
        Step(Optimizer(), 3).load_state_dict(Constant(Optimizer()).state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: Cosine(o, 0), "total_steps"),
        (lambda o: Cosine(o, 10, warmup_steps=10), "warmup_steps"),
        (lambda o: Cosine(o, 10, floor=0.5), "floor"),
        (lambda o: Step(o, 0), "step_size"),
        (lambda o: Step(o, 1, gamma=0), "gamma"),
        (lambda o: ReduceOnPlateau(o, mode="down"), "mode"),
        (lambda o: ReduceOnPlateau(o, threshold_mode="x"), "threshold_mode"),
        (lambda o: ReduceOnPlateau(o, factor=1.0), "factor"),
        (lambda o: ReduceOnPlateau(o, patience=-1), "patience"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=f"^{message}: expected"):
        make(Optimizer())
