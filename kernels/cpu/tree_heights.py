"""How high the nodes of trees stand."""

import numpy as np

from .compiling import kernel


@kernel("tree_heights")
def tree_heights(parents):
    """The heights of nodes above their lowest descendants, from their parents (N,) or -1.

    The height of a node that is on a cycle, or that a cycle leads to, is -1.
    """
    count = parents.size
    children, lowest = np.zeros(count, np.intp), np.zeros(count, np.intp)
    heights, ready = np.full(count, -1), np.empty(count, np.intp)
    for parent in parents:
        if parent >= 0:
            children[parent] += 1
    found = 0
    for node in range(count):
        if children[node] == 0:
            ready[found] = node
            found += 1
    done = 0
    while done < found:
        node = ready[done]
        done += 1
        heights[node] = lowest[node]
        parent = parents[node]
        if parent >= 0:
            lowest[parent] = max(lowest[parent], lowest[node] + 1)
            children[parent] -= 1  # of these, as many as are not done yet
            if children[parent] == 0:
                ready[found] = parent
                found += 1
    return heights
