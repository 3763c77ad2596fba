"""What benches that have PyTorch as their one peer begin and end with."""

from contextlib import contextmanager

from bench.threads import limit_threads


@contextmanager
def beside_torch(threads):
    """Give PyTorch, or None where it is absent; print what runs where, and who disturbed it.

    To be entered before NumPy is imported.
    """
    limit_threads(threads)
    import gpurnn
    from bench import load, report
    from bench.peers import pytorch

    gpurnn.set_num_threads(threads)
    torch, why_not = None, pytorch.absent("cpu")
    if why_not is None:
        import torch

        torch.set_num_threads(threads)
    machine, meanwhile = report.describe_machine("cpu", threads), load.Load()
    print(report.heading(machine, {"torch": why_not} if why_not else {}))
    yield torch
    if busy := load.warning(meanwhile.of_others()):
        print(busy)
