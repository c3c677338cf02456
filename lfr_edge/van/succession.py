"""One order takes over from another, or is the first: the port between who loads it and who sees.

Before the point of no return everything stands as it was, after it the new order holds. Whoever sees passes it between
two pictures.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

Commit = Callable[[], None]
"""The point of no return: the record is on the disk when it returns, and nothing has changed if it raises."""


class Succession(Protocol):
    """Who sees, or does not."""

    def prepared(self, package: Path) -> AbstractContextManager[Callable[[Commit], None]]:
        """Make ready all that may fail; what is yielded then calls the commit, when no picture is being compared.

        LfrEdgeError from either: nothing has changed.
        """
        ...


class InTheDark:
    """The `Succession` of a van that is blind for certain: there is nothing to make ready."""

    @contextmanager
    def prepared(self, _package: Path) -> Iterator[Callable[[Commit], None]]:
        """See `Succession`."""
        yield lambda commit: commit()
