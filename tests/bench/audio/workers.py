"""Work that needs no clock, on all cores: each part has processes of its own, so that one that dies (livekit's native
code ends the process when it panics) takes no other part along, and all parts together keep no more cores busy than
there are. They give way to calls that are made beside them."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context
from typing import Final, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

cores: ContextVar[asyncio.Semaphore | None] = ContextVar("cores", default=None)
"""Set by whoever runs several parts at a time: what they share."""
_NICE: Final = 10
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.bench.audio.bench"])  # the imports of a second, once


def all_cores() -> asyncio.Semaphore:
    return asyncio.Semaphore(os.cpu_count() or 1)


async def spread(name: str, work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    """`work(job)` for each, in their order. What a job raises is raised; cancelled, the processes are gone at once."""
    slots, done = cores.get() or all_cores(), 0
    pool = ProcessPoolExecutor(
        min(os.cpu_count() or 1, len(jobs)), mp_context=_CONTEXT, initializer=os.nice, initargs=(10,)
    )

    async def one(job: Job) -> Result:
        nonlocal done
        async with slots:
            result = await asyncio.wrap_future(pool.submit(work, job))
        done += 1
        if done * 4 // len(jobs) != (done - 1) * 4 // len(jobs):
            print(f"    {name}: {done} of {len(jobs)}", flush=True)
        return result

    tasks = [asyncio.create_task(one(job)) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
