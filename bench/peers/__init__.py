"""Who is timed. Each module has

NAME, MODES (which of `bench.cases.MODES` it can do), absent(device) -> why or None, and
prepare(case, mode, device, threads) -> Prepared.
"""

from bench.peers import jax_scan, numpy_loop, onnx_runtime, open_vino, ours, pytorch

ALL = (ours, numpy_loop, pytorch, onnx_runtime, open_vino, jax_scan)


def present_and_absent(device):
    """The modules that can run here, and why the others cannot, by name."""
    reasons = {peer.NAME: peer.absent(device) for peer in ALL}
    present = [peer for peer in ALL if reasons[peer.NAME] is None]
    return present, {name: why for name, why in reasons.items() if why is not None}
