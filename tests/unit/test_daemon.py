"""The station's traffic between parts, where a fault would be heard late: a change of the network."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from intercomd.core.events import PathChanged
from intercomd.core.station import Phase
from intercomd.core.vocabulary import Metrics
from intercomd.device.daemon import Daemon
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.network import HOME, FakeNetwork
from intercomd.ports import LinkStatus, Paths

ROAMED = replace(
    HOME,
    addresses=HOME.addresses - {"192.0.2.7"} | {"198.51.100.9"},
    routes=frozenset({"ipv4 via 198.51.100.1 dev eth0"}),
    source="198.51.100.9",
)


class Desk:
    """A daemon whose parts write down what they are asked."""

    def __init__(self, link: str = "up", local_address: str | None = "192.0.2.7") -> None:
        self.asked: list[Any] = []
        self.journal = FakeJournal()
        self.daemon = Daemon("door", "en", frozenset(), True)
        self.daemon.assemble(
            SimpleNamespace(  # type: ignore[arg-type]
                journal=self.journal,
                ice=SimpleNamespace(look_again=lambda: None),
                media=SimpleNamespace(local_address=local_address),
                signalling=SimpleNamespace(
                    status=LinkStatus(link, 0.1), kick=lambda *, rerouted=False: self.asked.append(("kick", rerouted))
                ),
                interpreter=SimpleNamespace(post=self.asked.append),
            )
        )

    async def live_through(self, *pictures: Paths) -> "Desk":
        network = FakeNetwork()
        self.daemon.network_is(network.paths())
        following = asyncio.create_task(network.run(self.daemon.network_is))
        for paths in (*pictures, (pictures or (HOME,))[-1]):
            for _ in range(3):
                await asyncio.sleep(0)
            network.become(paths)
        assert not following.done(), following.exception()
        following.cancel()
        await asyncio.wait([following])
        return self


async def test_a_roam_builds_the_link_anew_before_the_call_asks_for_anything() -> None:
    desk = await Desk().live_through(ROAMED)
    assert desk.asked == [("kick", True), PathChanged("the address 192.0.2.7 is gone")]
    assert desk.journal.codes == [ErrorCode.NETWORK_CHANGED]


async def test_the_first_picture_is_no_change() -> None:
    assert (await Desk().live_through()).asked == []


@pytest.mark.parametrize("link", ["up", "connecting"])
async def test_what_leaves_the_path_alone_only_asks_whether_the_hub_is_there(link: str) -> None:
    cable = replace(HOME, carriers=frozenset({"lo"}))
    assert (await Desk(link).live_through(cable)).asked == [("kick", False)]


async def test_a_roam_over_nothing_is_told_in_both_steps() -> None:
    nothing = Paths(frozenset({"127.0.0.1"}), frozenset(), frozenset({"lo"}), None)
    desk = Desk()
    await desk.live_through(nothing, ROAMED)
    assert [asked for asked in desk.asked if isinstance(asked, PathChanged)] == [
        PathChanged("the address 192.0.2.7 is gone"),
        PathChanged("packets now leave ipv4 via 198.51.100.1 dev eth0"),
    ]


async def test_the_hub_gets_the_figures_of_the_whole_call() -> None:
    """Not those of the present connection alone: the station's own, and what earlier connections counted, are in."""
    desk, told = Desk(), Metrics(mos=4.2, xruns=1)
    call = SimpleNamespace(phase=Phase.CONNECTED, call_id="c1")
    parts = desk.daemon.parts
    parts.figures = SimpleNamespace(read=lambda: told, follow=desk.asked.append)  # type: ignore[assignment]
    parts.media.metrics = lambda: Metrics(jitter=0.1)  # type: ignore[method-assign]
    parts.interpreter = SimpleNamespace(  # type: ignore[assignment]
        look_at_store=lambda: None, station=SimpleNamespace(call=call), send_metrics=desk.asked.append
    )
    desk.daemon.refresh = lambda: None  # type: ignore[method-assign]
    desk.daemon.changed(SimpleNamespace(call=call, registered=False))  # type: ignore[arg-type]
    desk.daemon.tick()
    assert desk.asked == ["c1", told]
