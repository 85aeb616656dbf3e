"""A remote store as Zarr reads it."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from livelatent.errors import LivelatentError, StoreError

if TYPE_CHECKING:
    from livelatent.atlas.remote import Address


class RemoteStore(ObjectStore[Any]):
    """A remote store as Zarr reads it: read only, nothing missing is zeros, no error quotes a request.

    The index of a shard is its last bytes, and Zarr asks for them before each read of the shard; here once. So a
    stretch of cells costs one request for each of the two arrays (adjacent chunks are merged by Zarr).
    """

    def __init__(self, address: "Address") -> None:
        super().__init__(address.objects, read_only=True)
        self.address = address
        self._index: dict[tuple[str, int], Buffer] = {}
        self.fetched: dict[str, bytes] = {}
        """Files that are here already; each is given out once."""

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"RemoteStore({str(self.address)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self.address,)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The file, or a part of it; None where there is none and none need be."""
        index = (key, byte_range.suffix) if isinstance(byte_range, SuffixByteRequest) else None
        if index in self._index:
            return self._index[index]
        if byte_range is None and key in self.fetched:
            return prototype.buffer.from_bytes(self.fetched.pop(key))
        problem: LivelatentError | None = None
        found: Buffer | None = None
        try:
            found = await super().get(key, prototype, byte_range)
        except Exception as error:
            problem = self.address.refusal(key, error)
        if problem is None and found is None and self.address.must_have(key):
            problem = StoreError(
                f"{self.address}: the file {key} is missing. Zarr would read it as zeros. Copy the store there again."
            )
        if problem is not None:
            # Outside the handler: else the traceback would show the client's own words beneath.
            raise problem
        if index is not None and found is not None:
            self._index[index] = found
        return found

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[ByteRequest | None], **how: Any
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Parts of a file, neighbours in one request; an error of ours comes out as it is, not as a group of one."""
        problem: LivelatentError | None = None
        try:
            async for parts in super().get_ranges(key, byte_ranges, **how):
                yield parts
        except BaseExceptionGroup as several:
            ours = [one for one in several.exceptions if isinstance(one, LivelatentError)]
            if not ours:
                raise
            problem = ours[0]
        if problem is not None:
            raise problem
