"""A Tree-LSTM reads Python: what kind of node stands above these subtrees?

Takes the syntax trees of modules of the standard library apart into all their subtrees of 4 to 60
nodes. The network sees the kind of every node but the root, whose kind it is to tell: is it a
comparison, a call, a loop that all this is part of? Modules that it has not learned from are
the test; the baseline names the kind that is most frequent.

    python examples/python_trees.py
"""

import ast
import inspect
from importlib import import_module

import numpy as np

import gpurnn

TRAIN = (
    "argparse ast calendar cmd code codecs configparser copy csv dataclasses difflib doctest "
    "enum fileinput fractions ftplib functools gettext glob heapq imaplib inspect"
).split()
TEST = "json.decoder logging optparse shlex statistics textwrap zipfile".split()
SMALLEST, LARGEST, BATCH = 4, 60, 256
IGNORED = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)  # they tell too much


def syntax_of(module):
    """The kinds of a module's nodes, the parents' first, and the children of each."""
    nodes = [ast.parse(inspect.getsource(import_module(module)))]
    children = []
    for node in nodes:  # which grows meanwhile
        below = [n for n in ast.iter_child_nodes(node) if not isinstance(n, IGNORED)]
        children.append(range(len(nodes), len(nodes) + len(below)))
        nodes += below
    return [type(node).__name__ for node in nodes], children


def subtrees_of(module):
    """[(kinds, parents), ...] of the module's subtrees, the root being node 0."""
    kinds, children = syntax_of(module)
    sizes = np.ones(len(kinds), int)
    for node in reversed(range(len(kinds))):
        sizes[node] += sizes[list(children[node])].sum()
    found = []
    for root in np.flatnonzero((SMALLEST <= sizes) & (sizes <= LARGEST)):
        nodes, parents = [root], [-1]
        for i, node in enumerate(nodes):
            nodes += children[node]
            parents += [i] * len(children[node])
        found.append(([kinds[n] for n in nodes], gpurnn.Trees(parents)))
    return found


def batch_of(examples, numbers):
    """Trees, features (nodes, kinds) with nothing known of the roots, and the roots' kinds."""
    trees = gpurnn.Trees.concatenate([tree for _, tree in examples])
    kinds = np.array([numbers.get(kind, 0) for some, _ in examples for kind in some])
    features = np.eye(len(numbers) + 1, dtype="float32")[kinds]
    features[trees.roots] = 0
    return trees, features, kinds[trees.roots]


def main(updates=400, seed=0):
    """Train; return which share of the test's roots is told, and which by the baseline."""
    rng = np.random.default_rng(seed)
    train, test = ([s for module in some for s in subtrees_of(module)] for some in (TRAIN, TEST))
    kinds = sorted({kind for some, _ in train for kind in some})
    numbers = {kind: n + 1 for n, kind in enumerate(kinds)}  # 0: a kind not seen in training
    reader = gpurnn.ChildSumTreeLSTM(len(kinds) + 1, 64, rng=seed)
    output = gpurnn.Linear(64, len(kinds) + 1, rng=seed)
    optimizers = [gpurnn.Adam(layer, lr=4e-3) for layer in (reader, output)]
    print(f"{len(train)} subtrees to learn from, {len(test)} to be tested on, {len(kinds)} kinds")
    for update in range(1, updates + 1):
        picked = rng.integers(0, len(train), BATCH)
        trees, x, targets = batch_of([train[i] for i in picked], numbers)
        _, (h, c), back_reader = reader.forward(x, trees)
        logits, back_output = output.forward(h)
        loss, dlogits = gpurnn.softmax_cross_entropy(logits, targets)
        for layer in (reader, output):
            layer.zero_grads()
        back_reader(droots=(back_output(dlogits), np.zeros_like(c)))
        for optimizer in optimizers:
            optimizer.step()
        if update % 50 == 0:
            print(f"update {update}: {float(loss):.3f} nats a root")

    trees, x, targets = batch_of(test, numbers)
    _, (h, _) = reader(x, trees)
    right = np.mean(output(h).argmax(1) == targets)
    frequent = np.bincount([numbers[some[0]] for some, _ in train]).argmax()
    baseline = np.mean(targets == frequent)
    print(f"{right:.1%} of new roots told; always {kinds[frequent - 1]}: {baseline:.1%}")
    return right, baseline


if __name__ == "__main__":
    main()
