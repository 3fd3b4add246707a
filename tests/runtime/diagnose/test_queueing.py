"""Episodes: limits that explain when calls were answered."""

from __future__ import annotations

from random import Random

import pytest

from libvirt_proto.diagnose.queueing import MAX_STEPS, Episode
from libvirt_proto.events import Captured, Connection
from tests.support.frames import captured, frame

MS = 1_000_000


def call(number: int, time: float, connection: int = 1) -> Captured:
    where = Connection(connection, f"c{connection}", "s")
    return captured(frame(proc=16, serial=number), number + 1, round(time * MS), "c2s", where)


def limit(episode: Episode) -> int | None:
    waits = episode.waits(lambda _one, _two: True, lambda _call: True)
    return waits and waits.limit


def test_reply_to_a_call_that_had_to_wait_rules_a_limit_out() -> None:
    episode = Episode()
    for number in range(6):
        episode.call(number, call(number, number), number * MS)
    for number in (5, 4, 3, 2, 1, 0):
        episode.end(number, (1_000 + 300 * (5 - number)) * MS)
    assert limit(episode) is None


def test_calls_of_a_lost_connection_leave_the_queue() -> None:
    episode = Episode()
    for number in range(6):
        episode.call(number, call(number, number), number * MS)
    episode.end(0, 300 * MS)
    episode.end(2, 350 * MS, "gone")
    for number, at in ((1, 600), (3, 900), (4, 1_200), (5, 1_500)):
        episode.end(number, at * MS)
    assert limit(episode) == 1


def test_daemon_view_of_connections_that_a_trace_shows_twice() -> None:
    episode = Episode()
    steps = []
    for number in range(4):
        for connection, inner in ((number * 2 + 1, 0), (number * 2 + 2, 1)):
            key = (connection, number)
            steps.append((number * 5 + inner * 0.1, key, call(number, number * 5, connection)))
            steps.append((100 * (number + 1) + 3 - 3 * inner, key, None))
    for time, key, sent in sorted(steps, key=lambda each: each[0]):
        if sent is not None:
            episode.call(key, sent, round(time * MS))
        else:
            episode.end(key, round(time * MS))
    one = episode.daemon_view()
    assert {each.connection.id for each in one.calls} == {2, 4, 6, 8}
    assert (one.most, one.slow) == (4, True)


def test_parallel_clients_are_not_views_of_each_other() -> None:
    episode = Episode()
    for number in range(6):
        episode.call((number, 0), call(0, number, number + 1), number * MS)
    for number in range(6):
        episode.end((number, 0), (300 + number) * MS)
    assert episode.daemon_view() is episode


@pytest.mark.parametrize("seed", range(20))
def test_any_episode_takes_bounded_work(seed: int) -> None:
    """Any order of ends, times that go back, and calls without an end."""
    random = Random(seed)
    episode = Episode()
    open_: list[int] = []
    for number in range(MAX_STEPS):
        if not open_ or random.random() < 0.6:
            open_.append(number)
            episode.call(number, call(number, number), random.randrange(-(10**12), 10**12))
        else:
            kind = random.choice(["reply", "gone"])
            episode.end(
                open_.pop(random.randrange(len(open_))),
                random.randrange(-(10**12), 10**12),
                kind,  # type: ignore[arg-type]
            )
    assert episode.daemon_view().most <= episode.most
    found = limit(episode)
    assert found is None or found < episode.most


def test_calls_of_different_duration_in_order_are_served_one_at_a_time() -> None:
    """Two at a time would overtake each other."""
    episode = Episode()
    end = 0
    for number in range(8):
        episode.call(number, call(number, number), number * MS)
    for number, service in enumerate((300, 800, 320, 900, 310, 850, 290, 870)):
        end += service
        episode.end(number, end * MS)
    assert limit(episode) in (None, 1)


def test_calls_that_overtake_each_other_are_served_together() -> None:
    episode = Episode()
    for number in range(6):
        episode.call(number, call(number, number), number * MS)
    # Two at a time: 0 and 1, then 2 from 290, 3 from 310, 4 from 600, 5 from 605.
    for number, at in ((1, 290), (0, 310), (2, 600), (3, 605), (5, 900), (4, 910)):
        episode.end(number, at * MS)
    assert limit(episode) == 2
