"""The background look at STUN and TURN servers: on a clock that jumps from timer to timer."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from intercomd.core.protocol import Reply
from intercomd.core.vocabulary import IceServer
from intercomd.device import servers
from intercomd.device.servers import IceServers
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.probe import FakeProbe, FakeServer
from intercomd.ports import Unreachable
from tests.unit.jumping_loop import JumpingLoop

STUN, TURN = "stun:s.example", "turn:t.example"
NOW = 1_900_000_000.0
CONFIGURED = [IceServer([STUN, "stun:other.example"]), IceServer([TURN], "door", "secret-1")]


class Rig:
    def __init__(self, loop: JumpingLoop) -> None:
        self.loop = loop
        self.journal = FakeJournal()
        self.probe = FakeProbe(
            {
                STUN: FakeServer(0.03),
                "stun:other.example": FakeServer(0.04),
                TURN: FakeServer(0.05, {"door": "secret-1"}),
            }
        )
        self.linked = True
        self.asked = 0
        self.lifetime_s = 3600.0
        self.reachable = True
        self.ice: IceServers = self.make()

    def make(self, configured: list[IceServer] | None = None, **settings: Any) -> IceServers:
        given = CONFIGURED if configured is None else configured
        self.ice = IceServers(given, self.probe, self.ask, lambda: self.linked, self.journal, **settings)
        return self.ice

    async def ask(self) -> Reply:
        if not self.reachable:
            raise Unreachable
        self.asked += 1
        return self.issue()

    def issue(self) -> Reply:
        now_s = NOW + self.loop.time()
        username = f"{round(now_s + self.lifetime_s)}:door"
        server = IceServer(["turn:hub.example"], username, f"credential of {username}")
        users = {username: f"credential of {username}"}
        self.probe.servers["turn:hub.example"] = FakeServer(0.01, users)
        return Reply(ok=True, ice_servers=[server], server_time=now_s)

    def urls(self) -> list[str]:
        return [server.urls[0] for server in self.ice.chosen()]

    def told(self) -> list[ErrorCode]:
        return [code for code in self.journal.codes if code.name.startswith("ICE_")]

    def run(self, steps: Coroutine[Any, Any, None]) -> None:
        async def all_of_it() -> None:
            task = asyncio.ensure_future(self.ice.run())
            try:
                await steps
            finally:
                task.cancel()
                await asyncio.wait({task})

        self.loop.run_until_complete(all_of_it())


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    loop = JumpingLoop()
    monkeypatch.setattr(servers, "_now_s", loop.time)
    yield Rig(loop)
    loop.close()


def test_the_first_of_each_until_something_is_known(rig: Rig) -> None:
    assert rig.urls() == [STUN, TURN]
    assert [shown["state"] for shown in rig.ice.status()["servers"]] == ["unknown"] * 3


def test_a_server_that_falls_silent_is_left_and_taken_again(rig: Rig) -> None:
    async def steps() -> None:
        await asyncio.sleep(1)
        assert rig.urls() == [STUN, TURN]
        rig.probe.servers[STUN].answers = rig.probe.servers[TURN].answers = False
        await asyncio.sleep(70)
        assert rig.urls() == ["stun:other.example"]
        assert rig.told() == [ErrorCode.ICE_SERVER_UNREACHABLE] * 2
        await asyncio.sleep(300)
        assert rig.told() == [ErrorCode.ICE_SERVER_UNREACHABLE] * 2, "once in a cycle"
        rig.probe.servers[STUN].answers = rig.probe.servers[TURN].answers = True
        await asyncio.sleep(70)
        assert rig.urls() == ["stun:other.example", TURN], "the other one is as good"
        assert rig.told()[2:] == [ErrorCode.ICE_SERVER_BACK] * 2

    rig.run(steps())


def test_failures_are_looked_at_soon_and_then_less_often(rig: Rig) -> None:
    rig.probe.servers[STUN].answers = False
    rig.make([IceServer([STUN])])

    async def steps() -> None:
        await asyncio.sleep(16)
        assert len(rig.probe.asked) == 4, "at 0, 2, 6, 14 s"
        await asyncio.sleep(600)
        assert 10 <= len(rig.probe.asked) - 4 <= 14
        before = len(rig.probe.asked)
        rig.ice.look_again()
        await asyncio.sleep(0.1)
        assert len(rig.probe.asked) == before + 1, "at once when the network has changed"

    rig.run(steps())


def test_credentials_that_are_over_are_named_without_being_told(rig: Rig) -> None:
    rig.make([IceServer([TURN], "1500000000:door", "secret-1")])

    async def steps() -> None:
        await asyncio.sleep(1)
        assert rig.urls() == []
        assert rig.told() == [ErrorCode.ICE_CREDENTIALS_REFUSED]
        reason = str(rig.journal.lines[-1])
        assert "turn:t.example" in reason
        assert "expired at 2017-07-14 02:40:00 UTC" in reason
        assert "secret-1" not in reason
        (shown,) = rig.ice.status()["servers"]
        assert shown["state"] == "refused"
        assert "secret-1" not in str(rig.ice.status())

    rig.run(steps())


def test_without_a_link_to_the_hub_no_server_is_blamed(rig: Rig) -> None:
    rig.linked = False
    rig.probe.servers.clear()

    async def steps() -> None:
        await asyncio.sleep(100)
        assert rig.told() == []
        assert rig.urls() == []
        rig.linked = True
        await asyncio.sleep(70)
        assert rig.told() == [ErrorCode.ICE_SERVER_UNREACHABLE] * 3

    rig.run(steps())


def test_a_url_that_will_never_work_is_told_once_and_left_alone(rig: Rig) -> None:
    rig.make([IceServer(["stuns:s.example"])])

    async def steps() -> None:
        await asyncio.sleep(500)
        rig.ice.look_again()
        await asyncio.sleep(500)
        assert rig.probe.asked == ["stuns:s.example"]
        assert rig.told() == [ErrorCode.ICE_SERVER_UNSUPPORTED]

    rig.run(steps())


def test_the_hubs_credentials_are_renewed_before_half_their_life(rig: Rig) -> None:
    async def steps() -> None:
        rig.ice.heard(rig.issue())
        first = rig.ice.chosen()[-1]
        assert first.urls == [TURN], "a known one before one that nobody has seen" if rig.asked else None
        await asyncio.sleep(1)
        assert rig.urls() == [STUN, "turn:hub.example"], "the faster one"
        await asyncio.sleep(0.4 * 3600)
        assert rig.asked == 0
        await asyncio.sleep(0.1 * 3600)
        assert rig.asked == 1
        renewed = rig.ice.chosen()[-1]
        assert renewed.username is not None
        assert int(renewed.username.partition(":")[0]) - (NOW + rig.loop.time()) > 3000
        assert rig.told() == []
        assert 3000 < rig.ice.status()["credentials_s"] < 3600

    rig.run(steps())


def test_a_hub_that_cannot_be_asked_is_asked_again_and_old_credentials_are_not_used(rig: Rig) -> None:
    rig.make([])
    rig.lifetime_s, rig.reachable = 600, False

    async def steps() -> None:
        rig.ice.heard(rig.issue())
        await asyncio.sleep(590)
        assert rig.urls() == ["turn:hub.example"]
        await asyncio.sleep(20)
        assert rig.urls() == []
        rig.reachable = True
        await asyncio.sleep(11)
        assert rig.urls() == ["turn:hub.example"]
        assert rig.asked == 1

    rig.run(steps())


def test_relay_only_goes_on_trying_a_relay_that_has_failed(rig: Rig) -> None:
    rig.make(relay_only=True)
    rig.probe.servers.clear()

    async def steps() -> None:
        await asyncio.sleep(10)
        assert rig.urls() == [TURN]

    rig.run(steps())


def test_after_a_loss_another_good_relay_is_taken_at_once(rig: Rig) -> None:
    other = "turn:other.example"
    rig.probe.servers[other] = FakeServer(0.2, {"door": "secret-1"})
    rig.make([IceServer([TURN, other], "door", "secret-1")])

    async def steps() -> None:
        await asyncio.sleep(1)
        assert rig.urls() == [TURN]
        rig.probe.servers[TURN].answers = False
        rig.ice.doubt()
        assert rig.urls() == [other], "before anything was asked"
        await asyncio.sleep(1)
        assert rig.urls() == [other]

    rig.run(steps())


def test_after_a_loss_the_only_relay_is_taken_again(rig: Rig) -> None:
    async def steps() -> None:
        await asyncio.sleep(1)
        assert rig.urls() == [STUN, TURN]
        rig.ice.doubt()
        assert rig.urls() == ["stun:other.example", TURN]

    rig.run(steps())


def test_at_most_four_probes_at_a_time(rig: Rig) -> None:
    running = most = 0

    async def slow(url: str, username: str | None, credential: str | None) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(3)
        running -= 1
        return await rig.probe(url, username, credential)

    rig.ice = IceServers([IceServer([f"stun:{n}" for n in range(16)])], slow, rig.ask, lambda: True, rig.journal)

    async def steps() -> None:
        await asyncio.sleep(13)
        assert most == 4
        assert rig.ice.chosen() == []

    rig.run(steps())
