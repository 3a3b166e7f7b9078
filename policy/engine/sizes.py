"""A network's sizes as a numba type: in compiled code they are constants, and each network has code of its own."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, models, register_model, unbox

from policy.engine.simd import LANES

FIELDS = ("hidden", "heads", "head_size", "intermediate", "layers")


class SizesType(types.Type):
    """The type is the sizes."""

    def __init__(self, hidden: int, heads: int, intermediate: int, layers: int) -> None:
        self.hidden, self.heads, self.intermediate, self.layers = hidden, heads, intermediate, layers
        self.head_size = hidden // heads
        super().__init__(name=f"Sizes({hidden}, {heads}, {intermediate}, {layers})")


class Sizes:
    """What compiled code is specialised for. Its fields are those of SizesType."""

    def __init__(self, *, hidden: int, heads: int, intermediate: int, layers: int) -> None:
        """intermediate is rounded up to whole vectors."""
        padded = -(-intermediate // LANES) * LANES
        self._numba_type_ = SizesType(hidden, heads, padded, layers)

    def __getattr__(self, name: str) -> int:
        if name not in FIELDS:
            raise AttributeError(name)
        return int(getattr(self._numba_type_, name))


@register_model(SizesType)
class _SizesModel(models.OpaqueModel):
    """Nothing is left of it at run time."""


@unbox(SizesType)
def _unbox_sizes(kind: Any, value: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


@infer_getattr
class _SizesAttributes(AttributeTemplate):
    key = SizesType

    def generic_resolve(self, kind: Any, name: str) -> Any:  # type: ignore[override]
        return types.int64 if name in FIELDS else None


@lower_getattr_generic(SizesType)
def _constant(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    return context.get_constant(types.int64, getattr(kind, name))
