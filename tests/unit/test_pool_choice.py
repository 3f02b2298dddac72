"""Which pools a class of traffic may use and in which order, from the scenario to the arrays."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.pack.scenario import plan
from sim.scenario.compose import load_scenario

SHORT = ["duration_s=10", "traffic.arrivals.rate_per_s=1"]
ON_THREE = [
    *SHORT,
    "pools.h100={}",
    "+gpu@pools.h200.gpu=h200",
    "+gpu@pools.l40s.gpu=l40s",
]


def lists(
    *overrides: str, story: str = "first_run", base: list[str] = ON_THREE
) -> dict[str, tuple[list[str], int]]:
    """Class → (its pools in the order of the arrays, 1 if that is an order of preference)."""
    made = plan(load_scenario(story, [*base, *overrides]))
    p, names = made.params, [pool.name for pool in made.scenario.pools]
    rows = p.rows("klass", int(p.n_class))
    return {
        c.name: (
            [names[i] for i in p.m[row["pools_at"] : row["pools_at"] + row["n_pool"]]],
            int(row["is_ordered"]),
        )
        for c, row in zip(made.scenario.classes, rows, strict=True)
    }


def test_no_list_where_every_pool_will_do() -> None:
    assert lists() == {"chat": ([], 0)}


def test_the_cheapest_is_cheapest_per_token() -> None:
    """A dearer GPU that is fast enough comes before a cheap slow one; a price changes the order, a preference rules it."""
    by_price = [
        "pool_choice.order=cheapest",
        "price.usd_per_gpu_hour=1",
        "pools.l40s.price.usd_per_gpu_hour=0.9",
    ]
    assert lists(*by_price)["chat"] == (["h200", "h100", "l40s"], 1)
    assert lists(*by_price, "pools.l40s.price.usd_per_gpu_hour=0.01")["chat"][0][0] == "l40s"
    assert lists(*by_price, "pools.h100.preference=-1")["chat"] == (["h100", "h200", "l40s"], 1)


def test_constraints_take_pools_away() -> None:
    tagged = ["pools.h200.compliance=[gdpr,hipaa]", "pools.l40s.compliance=[gdpr]", "pools.h100.tier=2"]
    assert lists(*tagged, "traffic.needs=[gdpr]")["chat"] == (["h200", "l40s"], 0)
    assert lists(*tagged, "traffic.needs=[hipaa,gdpr]")["chat"] == (["h200"], 0)
    assert lists(*tagged, "traffic.min_tier=1")["chat"] == (["h100"], 0)
    with pytest.raises(InputError, match=r"traffic.min_tier: no pool meets .*h200 tier 0 is below 1"):
        lists(*tagged, "traffic.min_tier=1", "traffic.needs=[gdpr]")


def test_the_nearest_first_and_none_too_far() -> None:
    trips = "{location:eu,region:us,rtt_s:0.09},{location:eu,region:asia,rtt_s:0.2}"
    placed = [
        "pools.h200.region=asia",
        "pools.h100.region=us",
        "pools.l40s.region=eu",
        "traffic.location=eu",
        f"pool_choice.round_trips=[{trips}]",
    ]
    assert lists(*placed, "pool_choice.order=nearest")["chat"] == (["l40s", "h100", "h200"], 1)
    near, ordered = lists(*placed, "traffic.max_rtt_s=0.1")["chat"]
    assert (set(near), ordered) == ({"h100", "l40s"}, 0)


def test_a_class_may_name_its_pools() -> None:
    assert lists("traffic.route_to=[l40s,h100]")["chat"] == (["l40s", "h100"], 1)


def test_one_group_for_all_models() -> None:
    """A class without a model takes the least tier it asks for from any; one with a model keeps to it."""
    tiers = ["duration_s=10", "pools.chat.tier=1", "pools.code.tier=2", "pool_choice.across_models=true"]
    found = lists(
        *tiers, "classes.chat.model=null", "pool_choice.order=cheapest", story="two_models", base=[]
    )
    assert found == {"chat": (["chat", "code"], 1), "code": (["code"], 1)}
    found = lists(*tiers, "classes.chat.model=null", "classes.chat.min_tier=2", story="two_models", base=[])
    assert found == {"chat": (["code"], 0), "code": (["code"], 0)}


BAD = [
    ("pool_choice.order=cheap", "pool_choice.order: 'cheap'", "did you mean 'cheapest'"),
    ("pool_choice.spill_over=0", "pool_choice.spill_over: 0", "> 0"),
    ("traffic.needs=[gdpr]", "traffic.needs: no pool meets what class chat asks for", "main lacks gdpr"),
    ("traffic.min_tier=2", "traffic.min_tier: no pool meets", "main tier 0 is below 2"),
    ("traffic.min_tier=-2", "traffic.min_tier: -2", "≥ 0"),
    ("traffic.route_to=[mian]", "traffic.route_to: 'mian'", "did you mean 'main'"),
    ("traffic.route_to=[main,main]", "traffic.route_to: ['main', 'main']", "each pool once"),
    ("pool.region=us traffic.location=eu", "pool_choice.round_trips: none between", "'eu' and region 'us'"),
    (
        "pool.region=us traffic.location=eu pool_choice.round_trips=[{location:eu,region:uk,rtt_s:1}]",
        "pool_choice.round_trips[0].region: 'uk'",
        "the region of a pool: us",
    ),
    (
        "pool.region=us traffic.location=eu pool_choice.round_trips=[{location:eu,region:us,rtt_s:1}] "
        "traffic.max_rtt_s=0.5",
        "traffic.max_rtt_s: no pool meets",
        "main is 1 s away",
    ),
]


@pytest.mark.parametrize(("overrides", "said", "allowed"), BAD, ids=[b[0][:40] for b in BAD])
def test_one_line_says_what_is_wrong(overrides: str, said: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("first_run", overrides.split())
    assert any(said in line and allowed in line for line in caught.value.problems)


def test_a_pool_that_cannot_hold_the_model() -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("two_models", ["classes.code.route_to=[chat]"])
    assert caught.value.problems == [
        "classes.code.route_to: 'chat' cannot serve class code: it serves llama_3_1_8b"
    ]


def test_the_way_to_the_pools_and_back() -> None:
    """Round trips, the gateway's own time and the server's beside its steps, in the order of the arrays' pools."""
    words = [
        "pools.h200.region=asia",
        "pools.l40s.region=eu",
        "traffic.location=eu",
        "gateway.latency_s=0.002",
        *(
            f"pools.{name}.runtime.request_overhead_ms={ms}"
            for name, ms in (("h200", 0), ("l40s", 0), ("h100", 30))
        ),
    ]
    trips = "pool_choice.round_trips=[{location:eu,region:asia,rtt_s:0.2}]"
    made = plan(load_scenario("first_run", [*ON_THREE, *words, trips]))
    p = made.params
    start = int(p.klass[0].network_at)
    found = dict(
        zip([pool.name for pool in made.scenario.pools], p.m[start : start + 3].tolist(), strict=True)
    )
    assert found == {"h200": 202 * 10**9, "l40s": 2 * 10**9, "h100": 32 * 10**9}
    near = plan(load_scenario("first_run", [*ON_THREE, "runtime.request_overhead_ms=0"]))
    assert near.params.klass[0].network_at == 0
