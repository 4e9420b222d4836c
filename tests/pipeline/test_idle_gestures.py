"""Where a gesture is in what a cursor walks. The loop has ten places; a gesture's pictures have places from 10 on."""

import pytest

from pipeline.idle import GestureRun, LoopCursor

LENGTH = 10


def wave(pictures: int = 3, back: int = 7, spoken_over: bool = True) -> GestureRun:
    """After it the loop is most like the gesture at `back`, whichever picture is its last."""
    return GestureRun(LENGTH, pictures, lambda _place: back, spoken_over)


@pytest.fixture
def cursor() -> LoopCursor:
    """It has shown the places 0 and 1."""
    cursor = LoopCursor(LENGTH)
    cursor.show_idle()
    cursor.show_idle()
    return cursor


def test_a_gesture_begins_at_once_and_the_loop_goes_on_where_it_is_most_like_it(cursor: LoopCursor) -> None:
    """Its pictures come one after another, then the place after the one that is most like its last."""
    cursor.begin(wave())
    assert [cursor.show_idle() for _ in range(7)] == [10, 11, 12, 8, 9, 0, 1]


def test_speech_is_drawn_on_a_gesture(cursor: LoopCursor) -> None:
    """Places of spoken pictures lie in the gesture as idle ones do, and both join."""
    cursor.begin(wave(4))
    places = [cursor.show_idle(), *(cursor.reserve() for _ in range(4))]
    for place in places[1:]:
        cursor.show_spoken(place)
    cursor.release()
    assert [*places, cursor.show_idle()] == [10, 11, 12, 13, 8, 9]


def test_a_gesture_comes_after_the_pictures_that_are_drawn_already(cursor: LoopCursor) -> None:
    """What has a place keeps it."""
    drawn = [cursor.reserve(), cursor.reserve()]
    cursor.begin(wave())
    assert [*drawn, cursor.reserve()] == [2, 3, 10]


def test_a_gesture_does_not_wait_for_pictures_that_are_forgotten(cursor: LoopCursor) -> None:
    """An interruption frees their places, and the gesture takes them."""
    cursor.reserve()
    cursor.reserve()
    cursor.begin(wave())
    cursor.release()
    assert cursor.show_idle() == 10


def test_a_gesture_can_be_ended(cursor: LoopCursor) -> None:
    """The loop goes on from there; a gesture that has not begun is not shown at all."""
    cursor.begin(wave())
    assert cursor.show_idle() == 10
    cursor.end()
    assert cursor.show_idle() == 8
    cursor.begin(wave())
    cursor.end()
    assert cursor.show_idle() == 9


def test_a_gesture_takes_the_place_of_another(cursor: LoopCursor) -> None:
    """Also of itself: it begins anew."""
    cursor.begin(wave())
    shown = [cursor.show_idle(), cursor.show_idle()]
    cursor.begin(wave())
    assert shown + [cursor.show_idle() for _ in range(4)] == [10, 11, 10, 11, 12, 8]


def test_a_head_sways_on_a_gesture_and_speech_goes_on_there(cursor: LoopCursor) -> None:
    """Held speech finds the place where it was cut, though it is a gesture's."""
    cursor.begin(wave(6))
    spoken = [cursor.reserve() for _ in range(4)]
    cursor.show_spoken(spoken[0])
    cursor.sway(spoken[1])
    swayed = [cursor.show_idle() for _ in range(3)]
    cursor.come_back()
    back = []
    while not cursor.is_back:
        back.append(cursor.show_idle())
    cursor.go_on()
    cursor.show_spoken(spoken[1])
    assert swayed == [1, 0, 9]
    assert back[-1] == spoken[0]
    assert cursor.shown == spoken[1]


def test_where_no_mouth_can_be_drawn_on_it_a_gesture_waits_for_the_end_of_speech(cursor: LoopCursor) -> None:
    """It is asked for in mid-speech, and begins with the first idle picture after it."""
    place = cursor.reserve()
    cursor.begin(wave(spoken_over=False))
    later = cursor.reserve()
    cursor.show_spoken(place)
    cursor.show_spoken(later)
    cursor.release()
    assert [place, later, cursor.show_idle()] == [2, 3, 10]


def test_where_no_mouth_can_be_drawn_on_it_a_gesture_ends_where_speech_begins(cursor: LoopCursor) -> None:
    """The first spoken picture is on the loop."""
    cursor.begin(wave(spoken_over=False))
    assert [cursor.show_idle(), cursor.reserve()] == [10, 8]


def test_gestures_one_after_another_do_not_pile_up(cursor: LoopCursor) -> None:
    """Whoever asks for a hundred of them has the last one, and then the loop."""
    for _ in range(100):
        cursor.begin(wave())
        assert cursor.show_idle() == 10
    assert [cursor.show_idle() for _ in range(3)] == [11, 12, 8]


def test_a_network_ends_a_gesture_that_others_could_speak_over(cursor: LoopCursor) -> None:
    """The lip-sync of a session may change while one is shown."""
    cursor.begin(wave())
    assert [cursor.show_idle(), cursor.reserve(), cursor.reserve(loop_only=True)] == [10, 11, 8]


def test_a_gesture_that_is_to_be_shown_soon_takes_the_places_of_pictures_that_are_drawn(cursor: LoopCursor) -> None:
    """All but the next three are somewhere else now: on the gesture, and on the loop after it."""
    names = []
    for _ in range(8):
        cursor.reserve()
        names.append(cursor.reserved)
    cursor.begin(wave(), soon=True)
    now = [cursor.place_of(name) for name in names]
    assert now == [2, 3, 4, 10, 11, 12, 8, 9]
    for place in now:
        cursor.show_spoken(place)
    assert cursor.reserve() == 0


def test_a_gesture_ends_in_the_pictures_that_are_drawn(cursor: LoopCursor) -> None:
    """Three more of it are shown; one that was to begin later never does."""
    cursor.begin(wave(9))
    names = []
    for _ in range(6):
        cursor.reserve()
        names.append(cursor.reserved)
    cursor.begin(wave())
    cursor.end()
    assert [cursor.place_of(name) for name in names] == [10, 11, 12, 8, 9, 0]


def test_pictures_of_held_speech_stay_where_they_were_drawn(cursor: LoopCursor) -> None:
    """However the head sways meanwhile, their names lead to the same places; a gesture comes after them."""
    places, names = [], []
    for _ in range(5):
        places.append(cursor.reserve())
        names.append(cursor.reserved)
    cursor.show_spoken(places[0])
    cursor.sway(places[1])
    for _ in range(30):
        cursor.show_idle()
    cursor.begin(wave(), soon=True)
    assert [cursor.place_of(name) for name in names] == places
