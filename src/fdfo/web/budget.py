"""So many bytes at a time, whoever they are for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """Bytes that are held at the same time; who asks for more than are left waits."""

    def __init__(self, total: int):
        self._left, self._changed = total, asyncio.Condition()

    @asynccontextmanager
    async def held(self, count: int) -> AsyncIterator[None]:
        """Hold `count` bytes, at most the total, for the time of the block."""
        async with self._changed:
            await self._changed.wait_for(lambda: count <= self._left)
            self._left -= count
        try:
            yield
        finally:
            async with self._changed:
                self._left += count
                self._changed.notify_all()
