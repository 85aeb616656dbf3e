"""What Dask costs as the engine of the groups, beside the same reader on a plain pool of threads."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from streaming.atlases import Bench
from streaming.ours import BLOCK, BUFFER, MINIBATCH, opened
from streaming.process import measured, taking

EPOCHS = 3
AHEAD = 1


def figures(bench: Bench) -> dict[str, Any]:
    """Share by which Dask costs more: the larger of wall and CPU, and the worse atlas."""
    stores = {name: bench.files(atlas).ours for name, atlas in bench.atlases.items()}
    runs = [
        {"round": number, "atlas": name} | measured("groups", store=store, dask_first=bool(number % 2))
        for number in range(bench.rounds)
        for name, store in stores.items()
    ]
    overhead = {
        name: {
            what: round(
                median(run[f"dask_{what}"] for run in runs if run["atlas"] == name)
                / median(run[f"direct_{what}"] for run in runs if run["atlas"] == name)
                - 1,
                4,
            )
            for what in ("wall_s", "cpu_s")
        }
        for name in stores
    }
    worst = max(share for of in overhead.values() for share in of.values())
    return {"dask_overhead": worst, "dask": {"overhead": overhead, "runs": runs}}


def groups(store: str, dask_first: bool) -> dict[str, Any]:
    """Median of three epochs each way, taken in turn, after one of each."""
    ways = {"dask": by_dask, "direct": directly} if dask_first else {"direct": directly, "dask": by_dask}
    from livelatent.stream.memory import needs_of
    from livelatent.stream.plan import StreamConfig, plan_epoch
    from livelatent.stream.read import group_spec
    from livelatent.stream.slots import Slots
    from livelatent.stream.together import Together

    together = Together([opened(Path(store))], BLOCK)
    rows = together.rows(None)
    config = StreamConfig(minibatch_cells=MINIBATCH, block_cells=BLOCK, buffer_cells=BUFFER)
    slots = Slots(needs_of(together, rows, BLOCK).group(BUFFER), AHEAD + 2)
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for epoch in range(EPOCHS + 1):
        specs = [group_spec(group.rows(rows), BLOCK, together) for group in plan_epoch(rows, config, epoch)]
        for name, way in ways.items():
            with taking() as took:
                way(specs, together, slots)
            if epoch:
                spent[name].append(took)
    return {
        f"{name}_{what}": median(took[what] for took in took_of)
        for name, took_of in spent.items()
        for what in ("wall_s", "cpu_s")
    }


def by_dask(specs: list[Any], together: Any, slots: Any) -> None:
    """As the stream does it."""
    from livelatent.stream.read import GroupReader

    with GroupReader(together, slots, AHEAD) as reader:
        for group in reader.groups(specs):
            group.result()


def directly(specs: list[Any], together: Any, slots: Any) -> None:
    """The same, on as many threads and as far ahead, without Dask."""
    from livelatent.stream.read import n_readers, read_group

    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(AHEAD) as pool, ThreadPoolExecutor(n_readers(together)) as readers:
        for spec in specs:
            waiting.append(pool.submit(read_group, spec, together, slots, readers))
            if len(waiting) > AHEAD:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
