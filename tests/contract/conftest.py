"""Pairs of stations, closed after each test."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.media_rig import Kind, MakePair, Pair, RealKind


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """aiortc; a module that tests the fake too has its own."""
    return RealKind(monkeypatch)


@pytest.fixture
async def pair_of(kind: Kind) -> AsyncIterator[MakePair]:
    pairs: list[Pair] = []

    def make(**settings: object) -> Pair:
        pairs.append(Pair(kind, **settings))
        return pairs[-1]

    yield make
    for pair in pairs:
        await pair.close()


@pytest.fixture
def pair(pair_of: MakePair) -> Pair:
    return pair_of()
