"""Threads that share PyTorch's own, and what later threads have."""

import concurrent.futures

import pytest
import torch

from modules.threads import workers


@pytest.fixture
def eight_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count, each", [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_workers_share_the_threads(eight_threads, count, each):
    with workers(count) as pool:
        found = {
            pool.submit(torch.get_num_threads).result() for _ in range(count)
        }
    assert found == {each}


def test_a_later_thread_has_all_again(eight_threads):
    with pytest.raises(ZeroDivisionError), workers(8) as pool:
        pool.submit(torch.get_num_threads).result()
        pool.submit(divmod, 1, 0).result()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 8
    assert torch.get_num_threads() == 8
