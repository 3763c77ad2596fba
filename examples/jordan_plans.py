"""From one plan a whole movement: M. I. Jordan, "Attractor dynamics and parallelism in a
connectionist sequential machine", 1986.

The input is a plan that stays the same over all steps: draw a circle, or a figure of eight. What
changes is only what the network has just done, fed back through its context. It learns both,
first their beginnings, then more and more of them: an error early in a movement spoils the rest.

    python examples/jordan_plans.py
"""

import numpy as np

import gpurnn

STEPS, WIDTH, HEIGHT = 20, 41, 15


def make_movements():
    """Plans (T, 2, 2) and where the pen is, (T, 2, 2): movement 0 is a circle, 1 an eight."""
    angle = 2 * np.pi * np.arange(STEPS) / STEPS
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    eight = np.stack([np.sin(angle), np.sin(2 * angle)], 1)
    plans = np.broadcast_to(np.eye(2, dtype=np.float32), (STEPS, 2, 2)).copy()
    return plans, 0.8 * np.stack([circle, eight], 1).astype(np.float32)


def draw(movement):
    """A movement (T, 2) as text, its steps a, b, c, ..."""
    canvas = [[" "] * WIDTH for _ in range(HEIGHT)]
    for t, (x, y) in enumerate(np.clip(movement, -1, 1)):
        row, column = round((1 - y) / 2 * (HEIGHT - 1)), round((x + 1) / 2 * (WIDTH - 1))
        canvas[row][column] = chr(ord("a") + t)
    return "\n".join("".join(row).rstrip() for row in canvas)


def main(updates=2500, seed=0):
    """Train, draw what the network does by itself, return its mean squared error."""
    plans, movements = make_movements()
    network = gpurnn.JordanNetwork(2, 32, 2, output="tanh", decay=0.5, rng=seed)
    optimizer = gpurnn.Adam(network, lr=1e-2)
    schedule = gpurnn.schedules.Cosine(optimizer, updates)
    for update in range(1, updates + 1):
        steps = min(STEPS, 2 + 3 * STEPS * update // (2 * updates))
        y, _, backward = network.forward(plans[:steps])
        loss, dy = gpurnn.mean_squared_error(y, movements[:steps])
        network.zero_grads()
        backward(dy)
        gpurnn.clip_grad_norm(network, 1.0)
        schedule(update)
        optimizer.step()
        if update % 500 == 0:
            print(f"update {update}: mean squared error {float(loss):.5f} over {steps} steps")
    y, _ = network(plans)
    for name, movement in zip(("circle", "eight"), y.swapaxes(0, 1)):
        print(f"\n{name}\n{draw(movement)}")
    return float(np.mean((y - movements) ** 2))


if __name__ == "__main__":
    main()
