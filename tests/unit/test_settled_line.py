"""A line followed in both directions, with contacts that bounce and edges that are lost."""

import asyncio

from intercomd.device.settled_line import OPEN_S, SettledLine
from tests.unit.jumping_loop import jumping


@jumping
async def test_opens_at_the_first_edge_and_closes_after_the_release() -> None:
    told: list[bool] = []
    button = SettledLine("speaker", told.append)
    button.edge("speaker", True)
    assert told == [True]
    button.edge("speaker", False)
    assert told == [True], "not yet: contacts bounce"
    await asyncio.sleep(2 * OPEN_S)
    assert told == [True, False]


@jumping
async def test_a_bouncing_contact_cuts_no_word() -> None:
    told: list[bool] = []
    button = SettledLine("speaker", told.append)
    for _ in range(5):
        button.edge("speaker", True)
        button.edge("speaker", False)
    button.edge("speaker", True)
    await asyncio.sleep(2 * OPEN_S)
    assert told == [True]


@jumping
async def test_a_release_that_nobody_told_is_found_by_reading_back() -> None:
    told: list[bool] = []
    button = SettledLine("speaker", told.append)
    button.edge("speaker", True)
    button.reread({"speaker": True})
    button.reread({"speaker": False})
    assert told == [True, False]


@jumping
async def test_other_buttons_do_nothing() -> None:
    told: list[bool] = []
    SettledLine("speaker", told.append).edge("call", True)
    assert told == []


@jumping
async def test_a_closing_that_nobody_told_is_found_by_reading_back() -> None:
    """A handset put down while the kernel had no room for the edge: the call must end."""
    told: list[bool] = []
    hook = SettledLine("hook", told.append)
    hook.reread({"hook": True})
    assert told == [True]


@jumping
async def test_what_is_closed_at_the_start_has_not_happened() -> None:
    told: list[bool] = []
    hook = SettledLine("hook", told.append)
    hook.begin({"hook": True})
    hook.reread({"hook": True})
    assert told == []
    hook.edge("hook", False)
    await asyncio.sleep(2 * OPEN_S)
    assert told == [False]
