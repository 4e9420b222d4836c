import pytest

from pipeline.idle import LoopCursor


def test_idle_pictures_walk_the_loop_round_and_round() -> None:
    """Idle pictures take one place after another and begin anew after the last."""
    cursor = LoopCursor(3)
    assert [cursor.show_idle() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_spoken_pictures_join_the_idle_ones_without_a_jump() -> None:
    """The first spoken picture has the place after the last idle one, and idling goes on after the last spoken one."""
    cursor = LoopCursor(10)
    shown = [cursor.show_idle(), cursor.show_idle()]
    reserved = [cursor.reserve() for _ in range(3)]
    for place in reserved:
        cursor.show_spoken(place)
    cursor.release()
    assert shown + reserved + [cursor.show_idle()] == [0, 1, 2, 3, 4, 5]


def test_the_last_place_is_held_when_speech_runs_dry() -> None:
    """While places are reserved but not shown, idle pictures do not move on."""
    cursor = LoopCursor(10)
    cursor.show_idle()
    first = cursor.reserve()
    cursor.show_spoken(first)
    second = cursor.reserve()
    assert [cursor.show_idle(), cursor.show_idle()] == [first, first]
    cursor.show_spoken(second)
    assert cursor.show_idle() == second + 1


def test_places_ahead_are_free_again_after_an_interrupt() -> None:
    """release() forgets what was reserved; idling goes on from what was shown."""
    cursor = LoopCursor(10)
    cursor.show_idle()
    for _ in range(5):
        cursor.reserve()
    cursor.release()
    assert cursor.show_idle() == 1
    assert cursor.reserve() == 2


def test_speech_crosses_the_end_of_the_loop() -> None:
    """Reserved places wrap as idle ones do."""
    cursor = LoopCursor(3)
    for _ in range(3):
        cursor.show_idle()
    places = [cursor.reserve() for _ in range(4)]
    assert places == [0, 1, 2, 0]
    for place in places:
        cursor.show_spoken(place)
    cursor.release()
    assert cursor.show_idle() == 1


def test_a_loop_has_at_least_one_frame() -> None:
    """An empty loop is refused."""
    with pytest.raises(ValueError, match="at least one"):
        LoopCursor(0)
