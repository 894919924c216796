"""Every metric of onhook: its name, its kind, its labels and what it means. The reference page is made from it.

No label holds a phone number, an id or anything else that grows with the number of calls.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric. Counters begin at 0 with the process; times are in seconds, as Prometheus has them."""

    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


CATALOG: dict[str, Metric] = {
    # the node
    "onhook_build_info": Metric("gauge", "Always 1; the label tells the version.", ("version",)),
    "onhook_component_up": Metric(
        "gauge", "1 while a component of `/readyz` is fit, also with limits, else 0.", ("component",)
    ),
    # calls
    "onhook_calls": Metric("gauge", "Calls that are not ended, by state.", ("state",)),
    "onhook_legs": Metric("gauge", "Calls whose leg this process holds."),
    "onhook_max_calls": Metric("gauge", "The most calls at once, as the setting `max_calls` has it; 0: no limit."),
    "onhook_calls_refused_total": Metric(
        "counter",
        "New calls for which there was no room: `full` by `max_calls`, `late` while the audio of the others came late.",
        ("shortage",),
    ),
    "onhook_conversations": Metric("gauge", "Calls with an agent on the line that an agent process hosts."),
    "onhook_calls_ended_total": Metric(
        "counter", "Calls that ended, by outcome and by the reason of their cause.", ("outcome", "reason")
    ),
    "onhook_zombie_calls": Metric(
        "gauge",
        "Calls that should not be: `ending` for more than 64*T1, or `no_leg`, live in the database without a leg of "
        "this process. Must be 0.",
        ("kind",),
    ),
    "onhook_deadline_overruns": Metric(
        "gauge", "Live calls that a deadline or a timer should have stopped more than 2 s ago. Must be 0."
    ),
    "onhook_dial_blocks": Metric("gauge", "Dial blocks that stand."),
    # stops
    "onhook_stops_total": Metric("counter", "Stopped calls whose end is settled, by the stop's reason.", ("reason",)),
    "onhook_stops_unconfirmed_total": Metric(
        "counter", "Stopped calls whose end the wire did not confirm in time. Should stay 0."
    ),
    "onhook_stops_unrecorded": Metric(
        "gauge", "Stops that were carried out on the wire and that the database has not taken yet. Must be 0."
    ),
    "onhook_stop_wire_seconds": Metric(
        "histogram",
        "From the request of a stop to our first BYE, CANCEL or refusal, by what ended the call.",
        ("method",),
    ),
    "onhook_stop_proof_seconds": Metric(
        "histogram", "From the request of a stop to the proof of the end, by what ended the call.", ("method",)
    ),
    # webhooks
    "onhook_webhook_lag_seconds": Metric("gauge", "How long the delivery that is due longest is overdue."),
    "onhook_webhook_oldest_seconds": Metric(
        "gauge", "Age of the oldest delivery that is not through, those that wait for a retry included."
    ),
    "onhook_webhook_deliveries": Metric(
        "gauge", "Deliveries that are not through: `due` now or later, or `inflight`.", ("state",)
    ),
    "onhook_webhook_attempts_total": Metric(
        "counter",
        "Deliveries tried: `done`, `due` again, `dead` when they are given up, `skipped` when they do not apply.",
        ("result",),
    ),
    # agents
    "onhook_agent_processes": Metric("gauge", "Agent processes, by whether they are `ready`.", ("state",)),
    "onhook_agent_processes_killed_total": Metric("counter", "Agent processes that had to be killed."),
    "onhook_agents_lost_total": Metric("counter", "Calls that lost their agent with its process."),
    "onhook_agent_leaks_total": Metric("counter", "Calls whose agent left something behind in its process."),
    "onhook_agent_audio_dropped_total": Metric("counter", "Frames of callers' audio that a process did not take."),
    "onhook_reply_seconds": Metric("histogram", "From the end of a caller's speech to the first sound of the reply."),
    "onhook_barge_in_seconds": Metric(
        "histogram", "From the first sound of a caller who talks over the agent to the agent's silence."
    ),
    # media
    "onhook_rtp_packets_total": Metric("counter", "RTP packets, `sent` and `received`.", ("direction",)),
    "onhook_media_tick_lateness_seconds": Metric(
        "histogram", "How late each 20 ms tick of the media path came, while there was any audio: the event loop's lag."
    ),
}
