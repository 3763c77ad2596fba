"""Other views of arrays, in kernels: without a copy, or a look at the shape."""

from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


@intrinsic
def flattened(typingctx, a):
    """All numbers of a C-contiguous array in a row.

    As `a.reshape(-1)`, for which Numba calls a function at run time.
    """
    if not isinstance(a, types.Array) or a.layout != "C":
        return None
    row = a.copy(ndim=1)

    def codegen(context, builder, sig, args):
        array = context.make_array(a)(context, builder, args[0])
        view = context.make_array(row)(context, builder)
        populate_array(
            view, data=array.data, shape=cgutils.pack_array(builder, [array.nitems]),
            strides=cgutils.pack_array(builder, [array.itemsize]), itemsize=array.itemsize,
            meminfo=array.meminfo, parent=array.parent,
        )  # fmt: skip
        return impl_ret_borrowed(context, builder, sig.return_type, view._getvalue())

    return row(a), codegen
