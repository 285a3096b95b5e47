"""What Prometheus is told, and that the alert rules speak of nothing else."""

import re
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from intercomd.core.protocol import REQUESTS, Code, EndCall, WebrtcRestart
from intercomd.core.vocabulary import EndReason, HubPhase, Metrics
from intercomd.hub.history.records import Figures
from intercomd.hub.metering.metrics import Metrics as HubMetrics
from intercomd.hub.people.directory import Role
from tests.unit.hub_calls import CALL, DOOR, FLAT, connected, connecting, ended, request, ringing

RULES = Path(__file__).parents[2] / "systemd" / "prometheus.rules.yml"


def samples(metrics: HubMetrics) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, sorted."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def watching() -> HubMetrics:
    metrics = HubMetrics()
    metrics.watch_clients(
        lambda role: {Role.STATION: 3, Role.RESIDENT: 2}[role], lambda _role: 1, lambda: 4, lambda: iter([0.5, 12.0])
    )
    metrics.watch_calls(lambda: Counter({HubPhase.RINGING: 2}), lambda: 7, lambda: True)
    return metrics


def test_a_call_is_counted_once_with_its_times() -> None:
    metrics = HubMetrics()
    ring, answered, talking = ringing(), connecting(), connected()
    over = request(talking, DOOR, EndCall(CALL), 61.0)[0]
    for before, after, now_s in (
        (None, ring, 0.0),
        (ring, answered, 1.0),
        (answered, talking, 1.5),
        (talking, over, 61.0),
    ):
        metrics.changed(before, after, now_s)
    metrics.changed(over, replace(over, seq=99), 62.0)
    found = samples(metrics)
    assert found["intercom_calls_total", "completed", "completed"] == 1.0
    assert sum(value for name, value in found.items() if name[0] == "intercom_calls_total") == 1.0
    for name, sum_s in (("ring", 1.0), ("setup", 0.5), ("talk", 60.0)):
        assert found[f"intercom_call_{name}_seconds_count",] == 1.0
        assert found[f"intercom_call_{name}_seconds_sum",] == sum_s


def test_states_that_were_decided_together_count_as_what_they_are() -> None:
    """A group commit tells of the last state; a call that nobody answered has neither ringing time nor talk."""
    metrics = HubMetrics()
    metrics.changed(None, ended(), 5.0)
    metrics.changed(None, request(ringing(), FLAT, EndCall(CALL))[0], 2.0)
    restarted = request(connected(), DOOR, WebrtcRestart(CALL, 1), 5.0)[0]
    metrics.changed(connected(), restarted, 5.0)
    found = samples(metrics)
    assert found["intercom_calls_total", "rejected", "rejected"] == 1.0
    assert found["intercom_call_ring_seconds_count",] == 1.0
    assert found["intercom_call_setup_seconds_count",] == 1.0
    assert found["intercom_call_restarts_total",] == 1.0


def test_what_a_participant_heard_is_counted_once_also_when_it_says_more_later() -> None:
    metrics = HubMetrics()
    heard = Metrics(mos=4.1, audio_packets_lost=-2, audio_packets_received=100, jitter=0.004, mouth_to_ear=0.11)
    metrics.measured(
        [Figures(CALL, FLAT.endpoint, "callee", heard), Figures(CALL, DOOR.endpoint, "caller", Metrics(mos=3.0))]
    )
    metrics.measured([Figures(CALL, FLAT.endpoint, "callee", heard)])
    found = samples(metrics)
    assert found["intercom_call_mos_count",] == 2.0
    assert found["intercom_call_mos_bucket", "3.5"] == 1.0
    assert (found["intercom_call_loss_ratio_count",], found["intercom_call_loss_ratio_sum",]) == (1.0, 0.0)


def test_what_is_asked_at_each_scrape() -> None:
    found = samples(watching())
    assert found["intercom_enrolled", "station"] == 3.0
    assert found["intercom_connected", "resident"] == 1.0
    assert (found["intercom_link_age_max_seconds",], found["intercom_links_silent",]) == (12.0, 1.0)
    assert found["intercom_open_calls", "ringing"] == 2.0
    assert (found["intercom_decisions_waiting",], found["intercom_ready",]) == (7.0, 1.0)


def test_a_door_is_counted_by_what_came_of_it() -> None:
    metrics = HubMetrics()
    metrics.answered("open_door", None, 0.2)
    metrics.answered("open_door", Code.DOOR_STUCK, 0.2)
    found = samples(metrics)
    assert found["intercom_door_openings_total", "opened"] == found["intercom_door_openings_total", "door_stuck"] == 1.0
    assert found["intercom_door_openings_total", "unconfirmed"] == 0.0
    assert found["intercom_refusals_total", "door_stuck"] == 1.0


def test_two_hubs_in_one_process_count_apart() -> None:
    one, other = HubMetrics(), HubMetrics()
    one.refused(Code.RATE_LIMITED)
    assert samples(one)["intercom_refusals_total", "rate_limited"] == 1.0
    assert samples(other)["intercom_refusals_total", "rate_limited"] == 0.0


def test_labels_stay_few_whatever_clients_send() -> None:
    metrics = watching()
    for number in range(1000):
        metrics.answered(f"event{number}", Code.UNKNOWN_EVENT, 0.01)
    before = len(samples(metrics))
    for event in REQUESTS:
        metrics.answered(event, None, 0.01)
    assert len(samples(metrics)) - before <= len(REQUESTS) * 13
    assert len(samples(metrics)) < 700


def test_names_are_ours_and_in_base_units() -> None:
    families = list(text_string_to_metric_families(watching().exposition().decode()))
    for family in families:
        assert family.name.startswith("intercom_"), family.name
        assert not re.search(r"_(ms|milliseconds|minutes|percent|kb)(_|$)", family.name), family.name
        assert family.documentation


# ------------------------------------------------------------------------------------------------------ the alerts


def expressions(text: str) -> list[str]:
    return re.findall(r"^ +expr: (.*)$", text, re.MULTILINE)


def unknown_names(text: str, names: set[str]) -> set[str]:
    return {name for found in expressions(text) for name in re.findall(r"\bintercom_\w+", found)} - names


def known_names() -> set[str]:
    metrics = watching()
    metrics.answered("initiate_call", None, 0.1)
    return {name[0] for name in samples(metrics)}


def test_every_metric_of_the_rules_exists() -> None:
    text = RULES.read_text()
    assert len(expressions(text)) == text.count("- alert:") > 10
    assert unknown_names(text, known_names()) == set()
    assert unknown_names(text.replace("intercom_call_mos_count", "intercom_call_mos_counts"), known_names())


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("reason", {reason.value for reason in EndReason}),
        ("code", {code.value for code in Code}),
        ("role", {role.value for role in Role}),
        ("event", set(REQUESTS)),
        ("outcome", {"opened", "unconfirmed", *(code.value for code in Code)}),
    ],
)
def test_every_label_of_the_rules_has_values_that_exist(label: str, values: set[str]) -> None:
    used = {
        word
        for found in re.findall(rf'{label}=~?"([^"]*)"', RULES.read_text())
        for word in found.split("|")
    }  # fmt: skip
    assert used, label
    assert used <= values


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for rule in RULES.read_text().split("- alert:")[1:]:
        assert re.search(r"severity: (page|warn)\b", rule), rule
        assert re.search(r'summary: ".+"', rule), rule
        assert re.search(r'remedy: ".+"', rule), rule
