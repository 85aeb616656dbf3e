"""Waiting for a thread that trains without holding up an event loop, such as a notebook's."""

import asyncio
from typing import Protocol

from livelatent.train.run_status import RunStatus

__all__ = ["Waited", "waited_beside"]

LOOK_EVERY_S = 0.1


class Waited(Protocol):
    """What trains in a thread of its own."""

    @property
    def is_alive(self) -> bool:
        """Whether the thread still works."""
        ...

    def stop(self) -> None:
        """End after the present step."""
        ...

    def wait(self) -> RunStatus:
        """Wait until it has ended; raises what ended it."""
        ...


async def waited_beside(training: Waited) -> RunStatus:
    """Wait as `training.wait` does, other tasks of the loop running on; whoever cancels it stops the training."""
    try:
        while training.is_alive:
            await asyncio.sleep(LOOK_EVERY_S)
    except asyncio.CancelledError:
        training.stop()
        raise
    return training.wait()
