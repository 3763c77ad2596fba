"""Loops of launches as CUDA graphs: recorded when they come a second time, then replayed.

A loop of launches depends on nothing but their arguments. CuPy's memory pool hands out the same
addresses to the same calls, so that in a program that repeats itself the same arguments come
again; then one launch of a graph takes the place of a launch from Python at each step. Nothing
is kept alive for that: whoever calls with the same addresses has arrays there.
"""

import threading

import cupy

MOST_GRAPHS = 32
"""How many loops are remembered, those used last."""

_lock = threading.Lock()
_graphs = {}  # key -> graph, or None where the loop has come once
_NEVER = object()


def run(key, launch):
    """Do the launches of `launch()`, all whose arguments `key` determines, on the current stream.

    `launch` must not allocate, copy from or to the host, or synchronise. On a stream that the
    caller records the launches become part of the caller's graph.
    """
    stream = cupy.cuda.get_current_stream()
    if stream.is_capturing():
        launch()
        return
    key = (cupy.cuda.runtime.getDevice(), *key)
    with _lock:
        graph = _graphs.pop(key, _NEVER)
        if graph is _NEVER:
            graph = None
        elif graph is None:
            graph = _record(launch)
        _graphs[key] = graph
        if len(_graphs) > MOST_GRAPHS:
            del _graphs[next(iter(_graphs))]
    if graph is None:
        launch()
    else:
        graph.launch(stream)


def _record(launch):
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            launch()
        finally:
            graph = stream.end_capture()
    return graph
