"""Numbers of 16 bits: stored so, computed with in float32.

Reading such a pointer gives a float32, writing rounds to the nearest; so the text of a kernel
is the same for all dtypes, and no sum is ever rounded to 16 bits on its way.
"""

import operator

from llvmlite import ir
from numba import types
from numba.cuda.extending import lower_builtin, models, register_model


class HalfPointer(types.CPointer):
    """To float16 or bfloat16 (`kind`); for Numba, its numbers are float32."""

    def __init__(self, kind):
        super().__init__(types.float32)
        self.kind, self.name = kind, f"{kind}*"

    @property
    def key(self):
        return self.name


@register_model(HalfPointer)
class _HalfPointerModel(models.PrimitiveModel):
    def __init__(self, manager, type_):
        super().__init__(manager, type_, ir.IntType(16).as_pointer())


@lower_builtin(operator.getitem, HalfPointer, types.Integer)
def _read(context, builder, signature, arguments):
    bits = builder.load(builder.gep(arguments[0], [arguments[1]]))
    if signature.args[0].kind == "float16":
        return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())
    # A bfloat16 is the upper half of a float32.
    wide = builder.zext(bits, ir.IntType(32))
    return builder.bitcast(builder.shl(wide, ir.Constant(wide.type, 16)), ir.FloatType())


@lower_builtin(operator.setitem, HalfPointer, types.Integer, types.Any)
def _write(context, builder, signature, arguments):
    pointer, index, value = arguments
    if signature.args[0].kind == "float16":
        bits = builder.bitcast(builder.fptrunc(value, ir.HalfType()), ir.IntType(16))
    else:
        convert = ir.FunctionType(ir.IntType(16), [ir.FloatType()])
        bits = builder.asm(convert, "cvt.rn.bf16.f32 $0, $1;", "=h,f", [value], side_effect=False)
    builder.store(bits, builder.gep(pointer, [index]))
