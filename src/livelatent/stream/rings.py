"""Which cells a balanced minibatch may draw beside its own group's: the latest of earlier groups, a ring per label.

Cells arrive in the order in which a stream without balance delivers them, group after group. While a group is trained
on, a label has the group's own cells, and where these are fewer than `ring_cells` the latest others that arrived
before: in this epoch, or in the one before it, and no further back. So what is carried follows from
(rows, labels, config, epoch, group) alone. It is worked out twice: from one group to the next while streaming, and
by going back over the plans when a run is resumed.

A cell is named by its place: its index into the stream's `rows`.
"""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.compiled import compiled
from livelatent.stream.plan import Group, StreamConfig, plan_epoch


@dataclass(frozen=True)
class Candidates:
    """The cells at hand while one group is trained on."""

    group: Group
    place: Int[ndarray, " candidate"]
    """Of the group's own cells, ascending, as `group.rows` names them; behind them those carried, the latest first."""
    label: Int[ndarray, " candidate"]
    """Codes; -1 is none, and no carried cell has it."""
    n_this_epoch: int
    """So many of them, the first, have arrived in this epoch; the others in the one before."""
    came_from: Int[ndarray, " carried"] | None = None
    """Where each carried cell stood among the candidates before; None where they were not worked out from these."""

    @property
    def carried(self) -> Int[ndarray, " carried"]:
        """Places of the cells that earlier groups have left."""
        return self.place[self.group.n_cells :]


def candidates_after(before: Candidates, group: Group, label: Int[ndarray, " row"], ring_cells: int) -> Candidates:
    """The candidates of the group that comes next, in this epoch or as the first of the next one.

    Parameters
    ----------
    label
        Code of each of the stream's rows; -1 is none.
    """
    own = _places(group)
    own_label = label[own]
    starts_epoch = group.number == 0
    # What is older ends with its epoch: a rank has other cells in each.
    n_kept = before.n_this_epoch if starts_epoch else len(before.place)
    room = ring_cells - _count(own_label, int(before.label.max(initial=-1)) + 1)
    # No cell comes twice in an epoch, so this group has none that has arrived in it.
    n_other = 0 if starts_epoch else before.n_this_epoch
    latest = before.group.order()[::-1]
    taken = np.empty(n_kept, np.int64)
    n_taken = compiled(_take_latest)(
        latest, before.place[:n_kept], before.label, n_other, *_spans((group,)), room, taken
    )
    came_from = taken[:n_taken]
    n_new = 0 if starts_epoch else int(np.count_nonzero(came_from < before.n_this_epoch))
    return Candidates(
        group=group,
        place=np.concatenate([own, before.place[came_from]]),
        label=np.concatenate([own_label, before.label[came_from]]),
        n_this_epoch=len(own) + n_new,
        came_from=came_from,
    )


def candidates_at(
    rows: Rows,
    label: Int[ndarray, " row"],
    config: StreamConfig,
    epoch: int,
    group_number: int,
    rank: int = 0,
    world: int = 1,
) -> Candidates:
    """The candidates of any group of any epoch, by going back from it over the plans.

    Parameters
    ----------
    label
        Code of each of `rows`; -1 is none.
    """
    assert config.balance is not None
    plan = plan_epoch(rows, config, epoch, rank, world)
    group = plan[group_number]
    n_cells = _count(label)
    found = [_places(group)]
    room = np.minimum(config.balance.ring_cells, n_cells) - _count(label[found[0]], len(n_cells))

    def go_back(groups: tuple[Group, ...], without: tuple[Group, ...]) -> None:
        spans = _spans(without)
        for one in reversed(groups):
            if not np.any(room > 0):
                break
            place = _places(one)
            taken = np.empty(len(place), np.int64)
            n_taken = compiled(_take_latest)(one.order()[::-1], place, label[place], 0, *spans, room, taken)
            found.append(place[taken[:n_taken]])

    go_back(plan[:group_number], without=())
    n_this_epoch = sum(map(len, found))
    if epoch > 0:
        go_back(plan_epoch(rows, config, epoch - 1, rank, world), without=plan[: group_number + 1])
    place = np.concatenate(found)
    return Candidates(group, place, label[place], n_this_epoch)


def _places(group: Group) -> Int[ndarray, " cell"]:
    start, stop = _spans((group,))
    n_cells = stop - start
    place: ndarray = np.arange(group.n_cells) + np.repeat(start - np.cumsum(n_cells) + n_cells, n_cells)
    return place


def _count(label: Int[ndarray, " cell"], n_labels: int = 0) -> Int[ndarray, " label"]:
    # -1 is counted in front, and left out.
    return np.bincount(label + 1, minlength=n_labels + 1)[1:]


def _spans(groups: tuple[Group, ...]) -> tuple[Int[ndarray, " span"], Int[ndarray, " span"]]:
    """Where the stretches of groups start and stop, ascending."""
    spans = np.array(sorted(span for group in groups for span in group.spans), np.int64).reshape(-1, 2)
    return np.ascontiguousarray(spans[:, 0]), np.ascontiguousarray(spans[:, 1])


def _take_latest(
    latest: ndarray,
    place: ndarray,
    label: ndarray,
    n_other: int,
    start: ndarray,
    stop: ndarray,
    room: ndarray,
    taken: ndarray,
) -> int:
    """Of a group's cells, in the order `latest`, and those behind them: whom `room` has room for, and no span holds.

    The first `n_other` places are known to lie in none.
    """
    n_taken = 0
    for k in range(place.size):
        cell = latest[k] if k < latest.size else k
        code = label[cell]
        if code < 0 or room[code] <= 0:
            continue
        if cell >= n_other:
            span = np.searchsorted(start, place[cell], side="right") - 1
            if span >= 0 and place[cell] < stop[span]:
                continue
        room[code] -= 1
        taken[n_taken] = cell
        n_taken += 1
    return n_taken
