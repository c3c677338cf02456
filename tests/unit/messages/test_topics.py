"""Topics carry ids and nothing else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfr_edge.errors import Reason, UntrustedInputError
from lfr_edge.messages.topics import Channel, Topic, parse_topic, topic_filter

IDS = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)


@given(force=IDS, van=IDS, channel=st.sampled_from(sorted(set(Channel) - {Channel.ACK}, key=str)))
def test_a_topic_parses_to_what_it_was_built_from(force: str, van: str, channel: Channel) -> None:
    topic = Topic(force, van, channel)
    assert parse_topic(str(topic)) == topic


def test_an_acknowledgement_names_its_alert() -> None:
    topic = Topic("essex", "van-1", Channel.ACK, "01978cb6-8f2d-7c30-89ed-08ae518037f0")
    assert str(topic) == "lfr/v1/essex/van-1/ack/01978cb6-8f2d-7c30-89ed-08ae518037f0"
    assert parse_topic(str(topic)) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "lfr/v1/essex/van-1",
        "lfr/v1/essex/van-1/alert/1",
        "lfr/v1/essex/van-1/ack",
        "lfr/v1/essex/van-1/secret",
        "lfr/v2/essex/van-1/alert",
        "lfr/v1/Essex/van-1/alert",
        "lfr/v1/essex/+/alert",
        "lfr/v1/essex/van-1/alert\n",
        "lfr/v1/essex/" + "x" * 65 + "/alert",
        "/lfr/v1/essex/van-1/alert",
    ],
)
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(UntrustedInputError) as caught:
        parse_topic(topic)
    assert caught.value.reason is Reason.MALFORMED


@given(topic=st.text(max_size=80))
def test_any_text_is_refused_or_means_exactly_itself(topic: str) -> None:
    with contextlib.suppress(UntrustedInputError):
        assert str(parse_topic(topic)) == topic


@pytest.mark.parametrize(
    ("van", "channel", "alert"),
    [("+", Channel.ALERT, None), ("a/b", Channel.ALERT, None), ("v", Channel.ACK, None), ("v", Channel.ALERT, "x")],
)
def test_a_topic_is_never_built_from_what_is_no_id(van: str, channel: Channel, alert: str | None) -> None:
    with pytest.raises(RuntimeError):
        Topic("essex", van, channel, alert)


def test_filters_widen_what_is_not_given() -> None:
    assert topic_filter(Channel.ALERT) == "lfr/v1/+/+/alert"
    assert topic_filter(Channel.ALERT, force="essex") == "lfr/v1/essex/+/alert"
    assert topic_filter(Channel.ACK, force="essex", van="van-1") == "lfr/v1/essex/van-1/ack/+"
