"""Large bodies wait for one another; small ones do not."""

import asyncio

import pytest

from model_deployment.http import workload
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import IN_MEMORY
from model_deployment.http.workload import MOST_BYTES, Workload


async def begun(load, *sizes):
    """Return which bodies of these sizes, begun in turn, are worked on, and end them all."""
    begun, done = [], asyncio.Event()

    async def work(size):
        async with load.of(size):
            begun.append(size)
            await done.wait()

    tasks = [asyncio.create_task(work(size)) for size in sizes]
    await asyncio.sleep(0.05)
    found = list(begun)
    done.set()
    await asyncio.gather(*tasks)
    assert sorted(begun) == sorted(sizes)  # those that waited came after
    return found


@pytest.mark.parametrize(
    ("sizes", "at_once"),
    [
        ([MOST_BYTES // 4] * 6, 4),
        ([MOST_BYTES, IN_MEMORY + 1, IN_MEMORY], 2),
        ([5 * MOST_BYTES, 5 * MOST_BYTES], 1),
        ([MOST_BYTES, *[IN_MEMORY] * 50], 51),
    ],
)
def test_workload_admits_bodies_while_there_is_room(sizes, at_once):
    assert len(asyncio.run(begun(Workload(), *sizes))) == at_once


def test_failed_work_gives_its_room_back():
    async def fail_and_go_on():
        load = Workload()
        with pytest.raises(ZeroDivisionError):
            async with load.of(MOST_BYTES):
                raise ZeroDivisionError
        return await begun(load, MOST_BYTES)

    assert asyncio.run(fail_and_go_on()) == [MOST_BYTES]


def test_request_that_waits_too_long_is_told_to_retry(monkeypatch):
    monkeypatch.setattr(workload, "WAIT_SECONDS", 0.05)

    async def wait():
        load = Workload()
        async with load.of(MOST_BYTES):
            with pytest.raises(Problem, match="Other large uploads") as error:
                async with load.of(MOST_BYTES):
                    raise AssertionError
        assert (error.value.status, error.value.kind) == (503, "busy")
        return await begun(load, MOST_BYTES)

    assert asyncio.run(wait()) == [MOST_BYTES]
