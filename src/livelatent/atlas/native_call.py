"""Call of a C function at its address, from compiled code. Imports numba, so it is imported late."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def call_c(typing: Any, address: Any, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    """`int64 f(int64, int64, int64, int64)` at `address`: pointers and sizes of 64 bits.

    Taken as an argument, numba's own kind of function cost 64 us a call to tell its type.
    """
    signature = types.int64(types.int64, types.int64, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.IntType(64)
        function = builder.inttoptr(arguments[0], ir.FunctionType(size, [size] * 4).as_pointer())
        return builder.call(function, arguments[1:])

    return signature, generate
