"""Matrix products, a tile of registers at a time. All matrices are flat float32 arrays with an offset and a row stride.

Suffixes of the products: Y[rows, columns] (+)= A[rows, K] B[K, columns]; columns are multiples of 16.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from policy.engine.jit import kernel
from policy.engine.simd import FLOATS, FUSED, INT64, LANES, constant, data_of, intrinsic, load_at, splat, store_at


def tile_of(rows: int, vectors: int) -> Any:
    """The product for so many rows and 16 x `vectors` columns, its sums in registers.

    Two registers of 256 bits a sum: 12 of them, 2 of B and 1 of A fit into AVX2's sixteen.
    """

    @intrinsic
    def tile(
        typing_context: Any,
        a: Any, a_at: Any, a_stride: Any, b: Any, b_at: Any, b_stride: Any, y: Any, y_at: Any, y_stride: Any,
        k: Any, adds: Any,
    ) -> Any:  # fmt: skip
        """adds: 1 = to what is in Y."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _, a_at, a_stride, _, b_at, b_stride, _, y_at, y_stride, k, adds = args
            a, b, y = (data_of(context, builder, sig.args[i], args[i]) for i in (0, 3, 6))
            sums = range(rows * vectors)
            places = [
                builder.add(builder.add(y_at, builder.mul(y_stride, INT64(row))), INT64(column * LANES))
                for row in range(rows)
                for column in range(vectors)
            ]
            entry, first = builder.block, builder.append_basic_block("first")
            loop, end = builder.append_basic_block("loop"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_signed("!=", adds, INT64(0)), first, loop)

            builder.position_at_end(first)
            before = [load_at(builder, y, place) for place in places]
            builder.branch(loop)

            builder.position_at_end(loop)
            step = builder.phi(INT64)
            sum_ = [builder.phi(FLOATS) for _ in sums]
            b_row = builder.add(b_at, builder.mul(step, b_stride))
            right = [load_at(builder, b, builder.add(b_row, INT64(column * LANES))) for column in range(vectors)]
            after: list[ir.Value] = []
            for row in range(rows):
                a_place = builder.add(a_at, builder.add(builder.mul(a_stride, INT64(row)), step))
                left = splat(builder, builder.load(builder.gep(a, [a_place])))
                for column in range(vectors):
                    product = builder.fmul(left, right[column], flags=FUSED)
                    after.append(builder.fadd(product, sum_[row * vectors + column], flags=FUSED))
            following = builder.add(step, INT64(1))
            step.add_incoming(INT64(0), entry)
            step.add_incoming(INT64(0), first)
            step.add_incoming(following, loop)
            for i in sums:
                sum_[i].add_incoming(constant(0.0), entry)
                sum_[i].add_incoming(before[i], first)
                sum_[i].add_incoming(after[i], loop)
            builder.cbranch(builder.icmp_signed("<", following, k), loop, end)

            builder.position_at_end(end)
            for i in sums:
                store_at(builder, y, places[i], after[i])
            return context.get_dummy_value()

        i = types.int64
        return types.void(a, i, i, b, i, i, y, i, i, i, i), generate

    return tile


_6x1, _4x1, _2x1 = tile_of(6, 1), tile_of(4, 1), tile_of(2, 1)
_1x4, _1x1, _2x2 = tile_of(1, 4), tile_of(1, 1), tile_of(2, 2)


@kernel
def lanes_product(
    a: Any, a_at: int, k: int, rows: int, b: Any, b_at: int, b_stride: int, y: Any, y_at: int, y_stride: int, adds: int
) -> None:
    """16 columns: the blocks of a group. `rows` is even; rows of A lie one after the other."""
    row = 0
    fours = 0 if rows % 6 == 0 else (2 if rows % 6 == 2 else 1)
    while row < rows - 4 * fours:
        _6x1(a, a_at + row * k, k, b, b_at, b_stride, y, y_at + row * y_stride, y_stride, k, adds)
        row += 6
    while row + 4 <= rows:
        _4x1(a, a_at + row * k, k, b, b_at, b_stride, y, y_at + row * y_stride, y_stride, k, adds)
        row += 4
    while row < rows:
        _2x1(a, a_at + row * k, k, b, b_at, b_stride, y, y_at + row * y_stride, y_stride, k, adds)
        row += 2


@kernel
def rows_product(
    a: Any, a_at: int, a_stride: int, k: int, rows: int,
    b: Any, b_at: int, b_stride: int, columns: int, y: Any, y_at: int, y_stride: int, adds: int,
) -> None:  # fmt: skip
    """Few rows, many columns: the steps of a DCM."""
    row = 0
    while row + 4 <= rows:
        for column in range(0, columns, LANES):
            _4x1(
                a, a_at + row * a_stride, a_stride, b, b_at + column, b_stride,
                y, y_at + row * y_stride + column, y_stride, k, adds,
            )  # fmt: skip
        row += 4
    while row + 2 <= rows:
        column = 0
        while column + 2 * LANES <= columns:
            _2x2(
                a, a_at + row * a_stride, a_stride, b, b_at + column, b_stride,
                y, y_at + row * y_stride + column, y_stride, k, adds,
            )  # fmt: skip
            column += 2 * LANES
        if column < columns:
            _2x1(
                a, a_at + row * a_stride, a_stride, b, b_at + column, b_stride,
                y, y_at + row * y_stride + column, y_stride, k, adds,
            )  # fmt: skip
        row += 2
    if row < rows:
        column = 0
        while column + 4 * LANES <= columns:
            _1x4(
                a, a_at + row * a_stride, a_stride, b, b_at + column, b_stride,
                y, y_at + row * y_stride + column, y_stride, k, adds,
            )  # fmt: skip
            column += 4 * LANES
        while column < columns:
            _1x1(
                a, a_at + row * a_stride, a_stride, b, b_at + column, b_stride,
                y, y_at + row * y_stride + column, y_stride, k, adds,
            )  # fmt: skip
            column += LANES
