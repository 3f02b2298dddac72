"""What comes in: traffic classes with their clients, limits, CPU stations, sessions, shared prompts, faults."""

from __future__ import annotations

from sim.schema import Field, Row, Wide
from sim.units import NEVER

# a request's prompt tokens, output tokens and class in one word of the trace
TOKEN_BITS = 24
CLASS_BITS = 15
TOKENS_MAX = (1 << TOKEN_BITS) - 1
CLASSES_MAX = (1 << CLASS_BITS) - 1

NOBODY_FOLLOWS = -1  # Turn.next; what is less names a line


class AttemptField(Field):
    """A field of a class: where it is not as it begins, attempts may be refused, given up or tried again, and are kept
    apart (Params.has_attempts).
    """


class TrafficClass(Row):
    """A traffic class: its served model, its objectives, and how its clients behave."""

    served_model = Field("the served model that its requests go to")
    priority = Field("lower goes first")
    ttft_ps = Field("objective of the time to first token, NEVER = none")
    itl_ps = Field("objective of the longest inter-token latency")
    tpot_ps = Field("objective of the mean time per output token")
    e2e_ps = Field("objective of the end-to-end latency")
    tenant = Field("the tenant that its requests belong to")
    shed_milli = AttemptField("attempts are shed from so many requests per ready replica on", begin=NEVER)
    max_queue_ps = AttemptField("attempts are refused that would queue longer", begin=NEVER)
    patience_at = Field(
        "where its clients' patience starts in Params.m: N_QUANTILE pairs first token, total; 0 = endless"
    )
    attempts_max = AttemptField("attempts at a request at most", begin=1)
    retry_on = Field("bits RETRY_…: after which outcomes a client tries again")
    backoff_at = Field("where its waits between attempts start in Params.m: attempts_max − 1 of them")
    jitter = Field("NO_JITTER, FULL_JITTER or EQUAL_JITTER")
    budget_ratio_milli = Field("what a first attempt pays into the retry budget")
    budget_burst_milli = Field("what the retry budget holds at most, NEVER = no budget")
    hedge_ps = AttemptField(
        "a client without a first token sends a second attempt after so long, NEVER = not at all", begin=NEVER
    )
    prompt_max = AttemptField(
        "attempts with longer prompts are refused, NEVER = none", unit="tokens", begin=NEVER
    )
    output_max = AttemptField("attempts with longer answers are refused", unit="tokens", begin=NEVER)
    pools_at = Field(
        "where the list of the pools that may serve it starts in Params.m, in order of preference"
    )
    n_pool = Field("how many there are, 0 = all of the served model's")
    is_ordered = Field("1 = the first of them that has room, 0 = the router looks at all of them alike")
    network_at = Field("where its times to each pool and back start in Params.m, 0 = none")
    visits_at = Field(
        "where its visits to CPU stations start in Params.m: how many before the GPU, how many after"
    )
    is_withheld = AttemptField("1 = clients see nothing of an answer before it is complete and checked")
    blocked_q20 = AttemptField("share of answers that the guardrail blocks")
    fallback = Field("the served model that blocked requests are sent to, or −1")
    deadline_ps = AttemptField("counted from arrival, NEVER = none", begin=NEVER)
    window_from_ps = Field("of a day: attempts first start between this time …")
    window_to_ps = Field("… and this one")
    defer_max_ps = AttemptField("a request waits at most so long for that window, 0 = not at all")
    is_persistent = Field("1 = a session goes on after a turn that was not answered")
    session_max = AttemptField(
        "turns are refused that would bring their session above it, NEVER = none", unit="tokens", begin=NEVER
    )
    stall_ps = AttemptField(
        "a client that has seen nothing new for so long gives up, NEVER = not at all", begin=NEVER
    )
    ttft_max_ps = AttemptField(
        "attempts are refused whose first token is expected later, NEVER = none", begin=NEVER
    )
    hedge_list = Field("the hedge list of its attempts")


class VisitHead(Row):
    """How many visits to CPU stations a class makes: those before the GPU come first."""

    n_before = Field("visits before the GPU")
    n_after = Field("visits after the GPU")


class Visit(Row):
    """A visit to a CPU station, and how long it keeps a worker busy."""

    station = Field("the station")
    base_ps = Field("time of every request")
    prompt_ps = Field("time of a prompt token")
    output_ps = Field("time of a token of the answer")


class StationParams(Row):
    """A CPU station."""

    first_worker = Field("number of its first worker")
    n_worker = Field("its workers")


class StationState(Row):
    """What has become of a CPU station."""

    busy_ps = Wide("work taken in", unit="ps")
    wait_ps = Wide("time that visits waited for a worker", unit="ps")
    visits = Field("visits taken in")
    in_line = Field("visits that wait, up to the last sample")


class LimitParams(Row):
    """Limits of a class or a tenant. Credits are picoseconds; a period of 0 is no limit."""

    request_ps = Field("time that earns a request")
    request_cap_ps = Field("credit for requests at most")
    token_ps = Field("time that earns a token")
    token_cap_ps = Field("credit for tokens at most")
    concurrent_max = Field("attempts in flight at most, NEVER = no limit")


class LimitState(Row):
    """How much of its limits a class or a tenant has left."""

    request_ps = Field("credit for requests")
    token_ps = Field("credit for tokens")
    last_ps = Field("when credits were last brought up to date")
    in_flight = Field("attempts that count against the concurrency limit")
    budget_milli = Field("the class's retry budget")
    sent_on = Field("blocked answers that another model was asked for instead")


class CachedAnswer(Row):
    """The response cache's entry of a question, in a list by last use."""

    filled_ps = Field("when the answer was complete + 1, 0 = it is not kept")
    prev = Field("the question used after it, −1 = none")
    next = Field("the question used before it, −1 = none")


class Segment(Row):
    """A part that prompts have in common, in a tree."""

    parent = Field("the segment before it, −1 = none")
    start = Field("token of the prompt at which it begins", unit="tokens")


class Turn(Row):
    """What follows a request in a closed loop."""

    next = Field("the request that follows, −1 = none, −2 − line = the first request of that line then")
    pause_ps = Field("how long after its end that one comes")
    tokens = Field("tokens of its session up to and with this request", unit="tokens")


class Line(Row):
    """Requests, side by side in the table, that wait until a client of a closed loop is free."""

    first = Field("its first request")
    n = Field("how many there are")


class Fault(Row):
    """A scripted fault: replicas of a pool are lost, or nodes with all that they hold."""

    at_ps = Field("when")
    pool = Field("of which pool replicas are lost")
    replicas = Field("how many")
    node_group = Field("1 + the group of which nodes are lost, 0 = any")
    zone = Field("1 + the zone in which nodes are lost, 0 = any; where both are 0 replicas are lost")
    nodes = Field("how many nodes, NEVER = all", begin=NEVER)
    outage_ps = Field("for how long the groups of those nodes then get no new ones")
    drains = Field("1 = the nodes are not lost: they are drained, within disruption budgets, and given back")
