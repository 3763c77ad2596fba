"""`gpurnn walkthrough`: its numbers are right, and checked where they are printed."""

import re

import numpy as np
import pytest

from gpurnn import walkthrough
from tests.differences import assert_is_gradient


def test_every_gradient():
    network, inputs = walkthrough.NETWORK, walkthrough.INPUTS
    steps, loss = walkthrough.forward(network, inputs, walkthrough.TARGETS)
    totals = walkthrough.backward(network, steps)
    assert loss == sum(step.loss for step in steps)

    def loss_now():
        return walkthrough.forward(network, inputs, walkthrough.TARGETS)[1]

    for name, parameter in vars(network).items():
        assert_is_gradient(getattr(totals, name), loss_now, parameter, name)


def test_the_tables_hold_the_numbers():
    """Wx, Uh and b make a, row by row; the parts of a gradient make its sum."""
    text = walkthrough.describe(digits=9)
    rows = re.findall(r"^(\d|sum)((?: +[+-]\d\.\d{9})+)$", text, re.M)
    tables = [[np.array(row.split(), float) for _, row in rows[i : i + 3]] for i in range(0, 15, 3)]
    products, units, outputs, _, last = tables
    for product, unit, output, b in zip(products, units, outputs, last[::-1]):
        assert np.allclose(product[2:4] + product[4:6] + walkthrough.NETWORK.b, unit[:2], atol=1e-8)
        assert np.allclose(np.tanh(unit[:2]), unit[2:], atol=1e-8)
        assert np.isclose(output[0] - output[1], output[2], atol=1e-8)
        assert np.allclose(b[:2] * b[2:4], b[4:], atol=1e-8)
    sums = [(i, np.array(row.split(), float)) for i, (t, row) in enumerate(rows) if t == "sum"]
    assert len(sums) == 3
    for i, total in sums:
        parts = [np.array(row.split(), float) for _, row in rows[i - 3 : i]]
        assert np.allclose(np.sum(parts, axis=0), total, atol=1e-8)


def test_a_layer_that_disagrees_is_told(monkeypatch):
    kept = walkthrough.layer_gradients

    def wrong(*arguments):
        loss, gradients = kept(*arguments)
        gradients.U = gradients.U.T
        return loss, gradients

    monkeypatch.setattr(walkthrough, "layer_gradients", wrong)
    with pytest.raises(ArithmeticError, match="the layer's gradients differ"):
        walkthrough.describe()


def test_the_command(capsys):
    for name in ("typer", "tqdm", "safetensors"):
        pytest.importorskip(name)
    from gpurnn import cli

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["walkthrough", *arguments])
        return ended.value.code or 0, capsys.readouterr().out

    code, out = run("--digits", "4")
    assert code == 0 and out == walkthrough.describe(4) + "\n"
    assert max(map(len, out.splitlines())) <= 100
    assert re.search(r"largest difference \d\.\de[-+]\d\d\n", out)
    assert run("--digits", "0")[0] == 2
