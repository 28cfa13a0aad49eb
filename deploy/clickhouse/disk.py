"""Writes that the disk did not take.

chDB ignores an error of writing to a file (no space, a quota, a device that fails), keeps the truncated part and says
that all is well; a restart sets the part aside, and its rows are gone. It counts such errors, for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.clickhouse.errors import CANNOT_WRITE_TO_FILE_DESCRIPTOR, QueryError

FAILED_WRITES = "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"


class Disk:
    """``count`` tells how many writes have failed since the engine was opened; it never falls."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._known = 0

    @contextmanager
    def written(self) -> Iterator[None]:
        """What the block writes is on the disk when it ends.

        The count does not say whose write failed. It is compared with what was known when the block began, so each
        statement that ran meanwhile is refused, perhaps with a good one among them, and never a bad one let through.

        Raises:
            QueryError: CANNOT_WRITE_TO_FILE_DESCRIPTOR.
        """
        known = self._known
        yield
        failed = self._count()
        # Two threads may leave the smaller number here: that refuses one statement more, and lets none through.
        self._known = max(self._known, failed)
        if failed > known:
            raise QueryError.of(
                CANNOT_WRITE_TO_FILE_DESCRIPTOR,
                f"The disk did not take {failed - known} writes while this statement ran, so what it stored may be "
                "damaged. Is the disk full or failing? Send the statement again when it is well, then restart "
                "ClickHouse: it sets damaged parts aside.",
            )
