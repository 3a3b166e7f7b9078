"""A vector of 16 floats as a numba type: load, store, arithmetic, e^x.

LLVM makes one register of 512 bits of it, two of 256, or four of 128. numba's own loops over arrays do not vectorise
(indices that wrap around, arrays that may overlap): a twelfth of the speed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic as typed_intrinsic
from numba.extending import models, register_model

LANES = 16
FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
FUSED = ("contract",)
intrinsic: Any = typed_intrinsic
"""To a type checker its functions would take the arguments of their definition, not those of a call."""
LEAST_EXPONENT = -87.0
"""e to the power of less is no normal float any more."""


class Vector(types.Type):
    """16 floats."""

    def __init__(self) -> None:
        super().__init__(name="f32x16")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, FLOATS)


def constant(value: float) -> ir.Constant:
    return ir.Constant(FLOATS, [value] * LANES)


def splat(builder: Any, scalar: Any) -> Any:
    """16 times a scalar of LLVM's."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INTS, [0] * LANES))


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Pointer to an array's first item."""
    return cgutils.create_struct_proxy(array_type)(context, builder, value=array).data


def load_at(builder: Any, data: Any, offset: Any) -> Any:
    loaded = builder.load(builder.bitcast(builder.gep(data, [offset]), FLOATS.as_pointer()))
    loaded.align = 4
    return loaded


def store_at(builder: Any, data: Any, offset: Any, value: Any) -> None:
    stored = builder.store(value, builder.bitcast(builder.gep(data, [offset]), FLOATS.as_pointer()))
    stored.align = 4


def _define(operation: Callable[..., Any], instruction: str) -> None:
    @infer_global(operation)
    class _Operation(ConcreteTemplate):
        cases = [signature(vector, vector, vector)]

    @lower_builtin(operation, vector, vector)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=FUSED)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_operation, _instruction)


@intrinsic
def load(typing_context: Any, array: Any, at: Any) -> Any:
    """array[at : at + 16] of a flat float32 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return load_at(builder, data_of(context, builder, sig.args[0], args[0]), args[1])

    return vector(array, types.int64), generate


@intrinsic
def store(typing_context: Any, array: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        store_at(builder, data_of(context, builder, sig.args[0], args[0]), args[1], args[2])
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), generate


@intrinsic
def fill(typing_context: Any, scalar: Any) -> Any:
    """16 times a float32."""
    return vector(types.float32), lambda context, builder, sig, args: splat(builder, args[0])


@intrinsic
def spread(typing_context: Any, array: Any, at: Any) -> Any:
    """16 times array[at]."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = data_of(context, builder, sig.args[0], args[0])
        return splat(builder, builder.load(builder.gep(data, [args[1]])))

    return vector(array, types.int64), generate


def _reduction(combine: Callable[[Any, Any, Any], Any]) -> Any:
    @intrinsic
    def reduce(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            rest, size = args[0], LANES
            while size > 1:  # halves, pairwise
                size //= 2
                indices = ir.VectorType(INT32, size)
                low = builder.shuffle_vector(rest, rest, ir.Constant(indices, list(range(size))))
                high = builder.shuffle_vector(rest, rest, ir.Constant(indices, list(range(size, 2 * size))))
                rest = combine(builder, low, high)
            return builder.extract_element(rest, INT32(0))

        return types.float32(vector), generate

    return reduce


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


total = _reduction(lambda builder, a, b: builder.fadd(a, b))
highest = _reduction(_larger)


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of each pair."""
    return vector(vector, vector), lambda context, builder, sig, args: _larger(builder, *args)


@intrinsic
def exp(typing_context: Any, value: Any) -> Any:
    """e^x, relative error about 1e-7; below LEAST_EXPONENT it stays what it is there."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        least = constant(LEAST_EXPONENT)
        x = builder.select(builder.fcmp_ordered("<", args[0], least), least, args[0])
        # x = n ln 2 + r: adding 1.5 x 2^23 rounds to n, which then stands in the lowest bits.
        magic = constant(12582912.0)
        shifted = builder.fadd(builder.fmul(x, constant(1.44269504)), magic)
        n = builder.fsub(shifted, magic)
        r = builder.fsub(x, builder.fmul(n, constant(0.693359375)))
        r = builder.fadd(r, builder.fmul(n, constant(2.12194440e-4)))
        power = constant(1 / 720)
        for coefficient in (1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
            power = builder.fadd(builder.fmul(power, r, flags=FUSED), constant(coefficient), flags=FUSED)
        bits = builder.shl(builder.bitcast(shifted, INTS), ir.Constant(INTS, [23] * LANES))
        scale = builder.bitcast(builder.add(bits, ir.Constant(INTS, [0x3F800000] * LANES)), FLOATS)
        return builder.fmul(power, scale)

    return vector(vector), generate


@intrinsic
def sqrt(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(FLOATS, [FLOATS])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.sqrt.v16f32"), args)

    return vector(vector), generate
