"""What is done about resident memory, beat by beat."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from syncd import metrics
from syncd.memory import Ceiling, Keeper, found
from syncd.memory.keeper import CALM_SECONDS, give_back
from syncd.model import Lane
from syncd.pulse import resident_bytes
from syncd.sync.narrowing import NARROWEST, Narrowing
from syncd.testing.clock import FakeClock

CEILING = 1000


class Memory:
    """As much as is said; giving back frees as much as is said, too."""

    def __init__(self, size: int = 500) -> None:
        self.size, self.freed, self.trims = size, 0, 0
        self.clock = FakeClock()
        self.keeper = Keeper(Narrowing(self.clock), self.clock, measure=lambda: self.size, trim=self._trim)
        self.keeper.use(Ceiling(CEILING, "a test"))

    def _trim(self) -> None:
        self.trims += 1
        self.size -= self.freed

    async def beats(self, *sizes: int) -> int:
        for size in sizes:
            self.size = size
            self.keeper.beat()
            await self.clock.advance(1.0)
        return self.keeper.narrowing.level


async def test_below_the_ceiling_nothing_is_done():
    memory = Memory()
    assert await memory.beats(500, 600, 700, 700) == 0
    assert not memory.trims and not memory.keeper.told()


async def test_above_it_what_is_free_is_given_back_once_and_where_that_helps_nothing_is_narrowed():
    memory = Memory()
    memory.freed = 500
    assert await memory.beats(900, 1005, 505) == 0
    assert memory.trims == 1


async def test_where_it_does_not_help_less_and_less_goes_on():
    memory = Memory()
    levels = [await memory.beats(size) for size in (990, 1001, 1001, 1001, 1001, 1001)]
    assert levels == [0, 1, 2, 3, 4, 4] and memory.trims == 1
    assert memory.keeper.told() == "one answer in hand at a time"
    assert memory.keeper.since is not None
    assert metrics.REGISTRY.get_sample_value("syncd_memory_narrowing") == NARROWEST


async def test_far_above_it_is_narrowed_as_far_as_it_goes_at_once():
    memory = Memory()
    await memory.beats(1090)
    assert await memory.beats(1200) == NARROWEST


async def test_growth_that_would_pass_it_by_the_next_beat_narrows_already():
    memory = Memory()
    assert await memory.beats(500, 800) == 1


async def test_it_opens_step_by_step_and_not_while_memory_hovers_below_the_ceiling():
    memory = Memory()
    await memory.beats(1200, 1200)
    assert await memory.beats(*[900] * 30) == NARROWEST
    steps = [await memory.beats(*[800] * int(CALM_SECONDS)) for _ in range(6)]
    assert steps[:4] == [4, 3, 2, 1] and steps[-1] == 0
    assert memory.keeper.since is None


async def test_what_is_free_is_given_back_ever_more_seldom_where_it_does_not_help():
    memory = Memory()
    trims = []
    for _ in range(4):
        await memory.beats(*[1200] * 60)
        trims.append(memory.trims)
    assert trims == [3, 4, 5, 6]


async def test_what_large_answers_leave_behind_keeps_nothing_narrowed_for_long():
    """It is free, and resident until it is given back."""
    memory = Memory()
    await memory.beats(1200, 1200)  # in hand: nothing to be given back
    memory.freed = 700
    await memory.beats(*[1200] * 9)
    assert memory.trims == 2 and memory.keeper.rss == 1200 - 700
    assert await memory.beats(*[500] * int(4 * CALM_SECONDS + 1)) == 0


async def test_giving_back_takes_a_small_share_of_the_time_however_long_it_takes():
    memory = Memory()
    memory.freed, slow = 300, memory.keeper._trim

    def trim() -> None:
        slow()
        memory.clock._monotonic += 1.0

    memory.keeper._trim = trim
    await memory.beats(*[1300] * 40)
    assert memory.trims == 1


async def test_an_answer_that_comes_between_two_beats_is_reason_to_look():
    memory = Memory()
    await memory.beats(500, 500)
    memory.size = 1200
    await memory.keeper.narrowing.take(Lane.NORMAL)
    assert memory.keeper.narrowing.level == NARROWEST and not memory.trims


async def test_a_ceiling_that_is_taken_away_opens_everything():
    memory = Memory()
    await memory.beats(1200, 1200)
    memory.keeper.use(Ceiling(0, "off"))
    assert await memory.beats(1200) == 0


def test_giving_back_does_so():
    blocks = [bytearray(200_000) for _ in range(300)]
    del blocks
    loops = [[] for _ in range(10)]  # type: ignore[var-annotated]
    for one in loops:
        one.append(one)
    del one, loops
    give_back()
    assert gc.get_count()[2] == 0 and resident_bytes() > 0


@pytest.mark.parametrize(
    ("files", "size", "told"),
    [
        (
            {"system.slice/syncd.service/memory.max": "1000", "system.slice/syncd.service/memory.high": "max"},
            800,
            "Max",
        ),
        (
            {"system.slice/syncd.service/memory.max": "1000", "system.slice/syncd.service/memory.high": "500"},
            400,
            "High",
        ),
        (
            {"memory/memory.limit_in_bytes": f"{2**63 - 4096}", "memory/system.slice/memory.limit_in_bytes": "500"},
            400,
            "limit",
        ),
        ({"system.slice/memory.max": "600", "system.slice/syncd.service/memory.max": "max"}, 480, "Max"),
    ],
)
def test_without_a_configured_ceiling_it_is_a_share_of_what_the_service_manager_allows(
    tmp_path: Path, files: dict[str, str], size: int, told: str
):
    own = "4:cpu,memory:/system.slice/syncd.service\n" if told == "limit" else "0::/system.slice/syncd.service\n"
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    ceiling = found(None, cgroups=tmp_path / "cgroup", own=tmp_path / "own")
    assert ceiling.size == size and told in ceiling.told_by


def test_without_any_word_it_is_a_share_of_the_machine_and_off_is_off(tmp_path: Path):
    ceiling = found(None, cgroups=tmp_path, own=tmp_path / "none")
    assert 0 < ceiling.size <= 1024**3
    assert found(0).size == 0 and found(5).size == 5
