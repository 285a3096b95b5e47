"""Levels by two streams: an edge counts at once, a status that is older than it must not undo it."""

from intercomd.demo.lines import Lines


def test_the_first_status_tells_all_lines() -> None:
    lines = Lines()
    assert list(lines.status({"ready": True, "ringing": False})) == [("ready", True), ("ringing", False)]
    assert lines.levels() == {"ready": True, "ringing": False}


def test_an_edge_is_news_once() -> None:
    lines = Lines()
    assert lines.edge("ringing", True)
    assert not lines.edge("ringing", True)
    assert lines.edge("ringing", False)


def test_a_status_that_an_edge_overtook_changes_nothing() -> None:
    lines = Lines()
    list(lines.status({"ringing": False}))
    lines.edge("ringing", True)
    assert list(lines.status({"ringing": False})) == []
    assert list(lines.status({"ringing": True})) == []
    assert lines.levels() == {"ringing": True}


def test_a_status_that_insists_is_right() -> None:
    """An edge was lost: the queue of a client that was too slow was full."""
    lines = Lines()
    list(lines.status({"ringing": True}))
    assert list(lines.status({"ringing": False})) == []
    assert list(lines.status({"ringing": False})) == [("ringing", False)]


def test_doubt_does_not_outlive_an_edge() -> None:
    lines = Lines()
    list(lines.status({"ringing": True}))
    list(lines.status({"ringing": False}))
    lines.edge("ringing", True)
    assert list(lines.status({"ringing": False})) == []


def test_a_dead_daemon_drives_no_line() -> None:
    lines = Lines()
    lines.edge("ready", True)
    lines.forget()
    assert lines.levels() == {}
    assert list(lines.status({"ready": True})) == [("ready", True)]
