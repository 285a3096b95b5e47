"""Passwords are judged in threads, by Argon2id, and as slowly where there is none."""

import asyncio
from collections.abc import Iterator

import pytest

from intercomd.hub.people import passwords
from intercomd.hub.people.passwords import MAX_WAITING, Overloaded, Passwords


@pytest.fixture
def judge() -> Iterator[Passwords]:
    judge = Passwords()
    yield judge
    judge.close()
    judge.close()


async def test_only_the_password_fits_its_hash(judge: Passwords) -> None:
    kept = await judge.hashed("correct horse")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert kept != await judge.hashed("correct horse"), "each has its own salt"
    assert await judge.fits(kept, "correct horse")
    assert not await judge.fits(kept, "correct horse ")
    assert not await judge.fits("nonsense", "correct horse")


async def test_who_has_no_password_costs_as_much_as_who_has_one(
    judge: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    real = passwords._HASHER.verify

    class Hasher:
        def verify(self, kept: str, password: bytes) -> bool:
            judged.append(kept.rpartition("$")[0].rpartition("$")[0])
            return real(kept, password)

    monkeypatch.setattr(passwords, "_HASHER", Hasher())
    theirs = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43
    assert not await judge.fits(theirs, "x")
    assert not await judge.fits(None, "x")
    assert not await judge.fits("", "x")
    assert judged == ["$argon2id$v=19$m=19456,t=2,p=1"] * 3


async def test_a_crowd_is_told_to_come_back(judge: Passwords) -> None:
    crowd = [asyncio.create_task(judge.fits(None, "x")) for _ in range(MAX_WAITING + 3)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[MAX_WAITING:]] == [Overloaded] * 3
    assert outcomes[:MAX_WAITING] == [False] * MAX_WAITING
    assert not await judge.fits(None, "x")
