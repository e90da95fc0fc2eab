"""Work in threads, results in order, memory bounded: the one piece of concurrency in the package."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    pool: ThreadPoolExecutor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    *,
    weight: Callable[[Result], int] | None = None,
    weight_limit: int = 0,
) -> Iterator[Result]:
    """`map(work, items)` run by `pool`, at most `ahead` items begun and not yet yielded.

    Items are taken lazily, and nothing more is begun while finished results that wait their turn weigh more than
    `weight_limit`. An exception of `work` is raised in its turn; what has not begun by then never does.
    """
    pending: deque[Future[Result]] = deque()

    def is_full() -> bool:
        if len(pending) >= ahead or weight is None:
            return len(pending) >= ahead
        finished = [future for future in pending if future.done() and future.exception() is None]
        return sum(weight(future.result()) for future in finished) > weight_limit

    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while pending and (pending[0].done() or is_full()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
