"""Work in threads, results in order, memory bounded: the one piece of concurrency in the package."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """`map(work, items)` run by `pool`; items are taken lazily, at most `ahead` begun and not yet yielded.

    A result is yielded as soon as it and all before it are there. An exception of `work` is raised in its turn; what
    has not begun by then never does.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while pending and (pending[0].done() or len(pending) >= ahead):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
