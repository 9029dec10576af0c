"""A limit on the bytes that all requests together hold in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """Lends up to `total` bytes at a time; a caller waits until the bytes that it asks for are free."""

    def __init__(self, total: int):
        self._left, self._changed = total, asyncio.Condition()

    @asynccontextmanager
    async def held(self, count: int) -> AsyncIterator[None]:
        """Hold `count` bytes, which must not exceed the total, while the block runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: count <= self._left)
            self._left -= count
        try:
            yield
        finally:
            async with self._changed:
                self._left += count
                self._changed.notify_all()
