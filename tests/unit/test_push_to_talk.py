"""The button that opens the microphone, with contacts that bounce and edges that are lost."""

import asyncio

from intercomd.device.push_to_talk import RELEASED_S, PushToTalk


async def test_opens_at_the_first_edge_and_closes_after_the_release() -> None:
    told: list[bool] = []
    button = PushToTalk(told.append)
    button.edge("speaker", True)
    assert told == [True]
    button.edge("speaker", False)
    assert told == [True], "not yet: contacts bounce"
    await asyncio.sleep(2 * RELEASED_S)
    assert told == [True, False]


async def test_a_bouncing_contact_cuts_no_word() -> None:
    told: list[bool] = []
    button = PushToTalk(told.append)
    for _ in range(5):
        button.edge("speaker", True)
        button.edge("speaker", False)
    button.edge("speaker", True)
    await asyncio.sleep(2 * RELEASED_S)
    assert told == [True]


async def test_a_release_that_nobody_told_is_found_by_reading_back() -> None:
    told: list[bool] = []
    button = PushToTalk(told.append)
    button.edge("speaker", True)
    button.reread({"speaker": True})
    button.reread({"speaker": False})
    assert told == [True, False]


async def test_other_buttons_do_nothing() -> None:
    told: list[bool] = []
    PushToTalk(told.append).edge("call", True)
    assert told == []
