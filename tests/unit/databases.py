"""A database of the hub for tests, one after the other on both backends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from intercomd.hub.storage.database import Database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.platform("postgres"))])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    is_file = request.param == "sqlite"
    url = f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}" if is_file else request.getfixturevalue("postgres_url")
    database = Database(url)
    await database.open()
    yield database
    await database.close()
