"""Arrays between pages that may not be touched: reading or writing past an end kills the process.

Run as a script, with names of recurrent layers: puts all that kernels read and write into such
arrays. `test_guarded` does so.
"""

import ctypes
import mmap
import sys

import numpy as np

_PROT_NONE = 0
_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_kept = []  # the mappings, for as long as the process lives


def guarded(array, at_end=True):
    """A copy of `array` that ends where a forbidden page begins, or begins where one ends."""
    array = np.ascontiguousarray(array)
    page = mmap.PAGESIZE
    room = -(-max(array.nbytes, 1) // page) * page
    mapping = mmap.mmap(-1, room + 2 * page)
    _kept.append(mapping)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    for wall in (address, address + page + room):
        if _mprotect(ctypes.c_void_p(wall), page, _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = page + (room - array.nbytes if at_end else 0)
    copy = np.frombuffer(mapping, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


def _check_layers(names, at_end):
    import gpurnn

    rng = np.random.default_rng(0)
    sizes = [(1, 1, 1, 1), (1, 2, 5, 33), (3, 1, 5, 7), (20, 2, 9, 19)]
    sizes += [(5, 6, 13, 33), (3, 9, 17, 12)]
    for cell in names:
        for T, B, I, H in sizes:
            layer = getattr(gpurnn, cell)(I, H, bidirectional=B > 1, rng=rng)
            for name in layer.params:
                layer.params[name] = guarded(layer.params[name], at_end)
                layer.grads[name] = guarded(layer.grads[name], at_end)
            x = guarded(rng.standard_normal((T, B, I), np.float32), at_end)
            y, _ = layer(x)
            trained, _, backward = layer.forward(x)
            np.testing.assert_array_equal(trained, y)
            backward(guarded(y, at_end))
            if B == 1:
                layer.stream().step(x[0], out=guarded(y[0], at_end))
                layer.reduced("int8")(x)


def _check_products(at_end):
    import gpurnn

    rng = np.random.default_rng(1)
    for N, I, O in ((1, 1, 1), (2, 3, 5), (7, 17, 33), (65, 31, 19)):
        layer = gpurnn.Linear(I, O, rng=rng)
        for name in layer.params:
            layer.params[name] = guarded(layer.params[name], at_end)
            layer.grads[name] = guarded(layer.grads[name], at_end)
        y, backward = layer.forward(guarded(rng.standard_normal((N, I), np.float32), at_end))
        backward(guarded(y, at_end))


if __name__ == "__main__":
    for at_end in (True, False):
        _check_products(at_end)
        _check_layers(sys.argv[1:], at_end)
    print("untouched")
