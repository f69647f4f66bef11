"""bfloat16 is taken if it is faster by more than noise makes; the clock here is the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from softonce import precision
from softonce.precision import bfloat16_pays


class Clock:
    """A clock that goes on only when something is computed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def compute(self, name: str, seconds: float, noise: Iterator[float]) -> Callable[[int], None]:
        """Return what takes so many seconds an image, times the next number of the noise."""

        def run(num: int) -> None:
            self.calls.append((name, num))
            self.now += seconds * num * next(noise)

        return run

    def pays(
        self, single: float, half: float, *, num: int = 32, noise: tuple[float, ...] = (1.0,)
    ) -> bool:
        both = {
            "float32": self.compute("float32", single, cycle(noise)),
            "bfloat16": self.compute("bfloat16", half, cycle(noise[::-1])),
        }
        return bfloat16_pays(both, num, what="a step")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(precision.time, "perf_counter", lambda: found.now)
    return found


@pytest.mark.parametrize(
    ("factor", "pays"),
    [(2.0, True), (1.31, True), (1.05, True), (1.01, False), (1.0, False), (0.8, False)],
)
def test_the_faster_one_is_taken_and_float32_within_the_noise(
    factor: float, pays: bool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="softonce")
    assert clock.pays(0.01, 0.01 / factor) == pays
    assert f"bfloat16 is {factor:.2f} times as fast as float32 for a step" in caplog.text
    assert caplog.messages[-1].startswith("bfloat16" if pays else "float32")


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_a_moment_in_which_others_compute_decides_nothing(factor: float, clock: Clock) -> None:
    noise = (1.0, 1.0, 1.0, 1.0, 9.0)
    assert clock.pays(0.01, 0.01 / factor, noise=noise) == (factor > 1)


def test_both_are_timed_in_turn_on_equally_many_images(clock: Clock) -> None:
    clock.pays(0.01, 0.01)
    timed = clock.calls[4:]
    assert [name for name, _ in timed] == ["float32", "bfloat16"] * (len(timed) // 2)
    assert len({num for _, num in timed}) == 1


@pytest.mark.parametrize("seconds", [1e-3, 1e-2, 0.1, 0.5])
def test_it_takes_a_moment_whatever_an_image_costs(seconds: float, clock: Clock) -> None:
    clock.pays(seconds, seconds, num=1024)
    dearest = 14 * 2 * seconds  # a few calls of two images each
    assert clock.now <= max(2.5, dearest)


def test_a_step_that_is_mostly_overhead_is_not_tried_in_bfloat16(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="softonce")
    assert not clock.pays(1e-5, 1e-9)
    assert {name for name, _ in clock.calls} == {"float32"}
    assert caplog.text == ""


def test_no_fewer_images_are_computed_than_can_be(clock: Clock) -> None:
    both = {name: clock.compute(name, 1.0, cycle((1.0,))) for name in ("float32", "bfloat16")}
    bfloat16_pays(both, 64, what="a step", least=12)
    assert {num for _, num in clock.calls} == {12}
    clock.calls.clear()
    bfloat16_pays(both, 8, what="a step", least=12)
    assert {num for _, num in clock.calls} == {8}


def test_all_processes_use_the_numbers_of_the_one_that_they_agree_on(clock: Clock) -> None:
    """Else they would make different numbers of steps, and wait for each other for ever."""
    said: list[float] = []

    def first(number: float) -> float:
        said.append(number)
        return number

    def both(seconds: float) -> dict[precision.Precision, Callable[[int], None]]:
        return {
            "float32": clock.compute("float32", seconds, cycle((1.0,))),
            "bfloat16": clock.compute("bfloat16", seconds / 2, cycle((1.0,))),
        }

    assert bfloat16_pays(both(0.01), 32, what="a step", agree=first)
    calls, told = clock.calls.copy(), iter(said)
    clock.calls.clear()
    assert bfloat16_pays(both(3.0), 32, what="a step", agree=lambda _: next(told))
    assert clock.calls == calls
    assert next(told, None) is None
