import asyncio

import pytest

from pipeline.channel import Channel, ChannelClosed


async def test_items_come_out_in_the_order_they_went_in() -> None:
    """receive() gives the oldest item."""
    channel: Channel[int] = Channel(3)
    for number in range(3):
        await channel.send(number)
    assert [await channel.receive() for _ in range(3)] == [0, 1, 2]


async def test_send_waits_while_the_channel_is_full() -> None:
    """send() waits until there is room for the item."""
    channel: Channel[int] = Channel(1)
    await channel.send(1)
    sending = asyncio.create_task(channel.send(2))
    await asyncio.sleep(0)
    assert not sending.done()
    assert await channel.receive() == 1
    await sending
    assert await channel.receive() == 2


async def test_the_bound_is_in_units_of_the_weight() -> None:
    """Items count by their own weight, and one heavier than the bound is let in when there is any room."""
    channel: Channel[float] = Channel(2.0, weight=lambda seconds: seconds)
    await channel.send(5.0)
    assert not channel.offer(0.1)
    assert await channel.receive() == 5.0
    assert channel.held == 0.0
    assert channel.offer(0.1)


async def test_receive_waits_for_an_item() -> None:
    """receive() of an empty channel returns the next item that is sent."""
    channel: Channel[str] = Channel(1)
    receiving = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    await channel.send("late")
    assert await receiving == "late"


async def test_a_closed_channel_gives_what_it_holds_and_then_ends() -> None:
    """After close() held items can be received; then receive() raises and iteration stops."""
    channel: Channel[int] = Channel(4)
    await channel.send(1)
    await channel.send(2)
    channel.close()
    assert [item async for item in channel] == [1, 2]
    with pytest.raises(ChannelClosed):
        await channel.receive()
    with pytest.raises(ChannelClosed):
        await channel.send(3)
    assert not channel.offer(3)


async def test_closing_wakes_whoever_waits() -> None:
    """A sender and a receiver that wait are told when the channel closes."""
    full: Channel[int] = Channel(1)
    await full.send(1)
    sending = asyncio.create_task(full.send(2))
    empty: Channel[int] = Channel(1)
    receiving = asyncio.create_task(empty.receive())
    await asyncio.sleep(0)
    full.close()
    empty.close()
    results = await asyncio.gather(sending, receiving, return_exceptions=True)
    assert [type(result) for result in results] == [ChannelClosed, ChannelClosed]


async def test_clear_takes_everything_out_and_makes_room() -> None:
    """clear() returns what waited, and a waiting sender goes on."""
    channel: Channel[int] = Channel(2)
    await channel.send(1)
    await channel.send(2)
    sending = asyncio.create_task(channel.send(3))
    await asyncio.sleep(0)
    assert channel.clear() == [1, 2]
    await sending
    assert await channel.receive() == 3


def test_push_gives_up_the_oldest() -> None:
    """It never waits: what has waited longest makes room, and the caller gets it back to count it."""
    channel: Channel[int] = Channel(2)
    assert [channel.push(number) for number in (1, 2, 3)] == [[], [], [1]]
    assert channel.waiting() == (2, 3)


def test_push_counts_weights_and_needs_room_for_a_part_only() -> None:
    """As send() does: one that is heavier than the bound is let in, and pushed out as soon as there is more."""
    channel: Channel[float] = Channel(1.0, weight=lambda seconds: seconds)
    for _ in range(4):
        channel.push(0.25)
    assert channel.full
    assert channel.push(5.0) == [0.25]
    assert channel.push(0.5) == [0.25, 0.25, 0.25, 5.0]
    assert channel.held == 0.5


def test_a_closed_channel_gives_back_what_is_pushed() -> None:
    """It counts as given up; what was held before stays to be received."""
    channel: Channel[int] = Channel(2)
    channel.push(1)
    channel.close()
    assert channel.push(2) == [2]
    assert channel.waiting() == (1,)


async def test_a_cancelled_send_puts_nothing() -> None:
    """If send() is cancelled while it waits, its item is not in the channel."""
    channel: Channel[int] = Channel(1)
    await channel.send(1)
    sending = asyncio.create_task(channel.send(2))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert channel.clear() == [1]


def test_a_bound_must_be_positive() -> None:
    """A channel that could hold nothing is refused."""
    with pytest.raises(ValueError, match="positive"):
        Channel(0)
