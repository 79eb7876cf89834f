"""Work on several threads that share PyTorch's own."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def workers(count: int) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Give so many threads, which share those that PyTorch had.

    Arguments
    ---------
    count : int
        Number of threads.

    Yields
    ------
    pool : concurrent.futures.ThreadPoolExecutor

    Example
    -------
    >>> with workers(2) as pool:
    ...     list(pool.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    threads = torch.get_num_threads()
    try:
        with concurrent.futures.ThreadPoolExecutor(
            count,
            initializer=torch.set_num_threads,
            initargs=(max(1, threads // count),),
        ) as pool:
            yield pool
    finally:
        # MKL has one number for the whole process.
        torch.set_num_threads(threads)
