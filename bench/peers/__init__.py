"""Who is timed. Each module: NAME, absent(device) -> why or None, prepare(case, device, threads).

`prepare` gives a `Prepared`: functions without arguments, which do the whole work of a mode (and
wait for the device), and `to_numpy`, which turns what they return into NumPy arrays.
"""

from bench.peers import numpy_loop, onnx_runtime, ours, pytorch

ALL = (ours, numpy_loop, pytorch, onnx_runtime)


def present_and_absent(device):
    """The modules that can run here, and why the others cannot, by name."""
    reasons = {peer.NAME: peer.absent(device) for peer in ALL}
    present = [peer for peer in ALL if reasons[peer.NAME] is None]
    return present, {name: why for name, why in reasons.items() if why is not None}
