"""One replica, in stories whose times are worked out by hand: the plain model is right about each."""

from __future__ import annotations

from .stories import column, pool, story, tokens


def test_one_request_alone() -> None:
    # prompt   7 + base[0] 100 + 5 tokens * 2 + attention 1 * 5*(0+5) = 7 + 135 = 142
    # decode 142 + base[1] 10 + slope 1 * 6 tokens                             = 158
    # decode 158 + base[1] 10 + slope 1 * 7 tokens                             = 175
    speed = {"base_ps": [100, 10], "slope_ps": [0, 1], "prefill_ps_per_token": 2, "attention_q16": 2**17}
    told = story([(7, 5, 3)], pool(max_num_seqs=1, **speed))
    assert told.requests == [
        {
            "outcome": "completed",
            "reason": "",
            "routed_ps": 7,
            "scheduled_ps": 7,
            "first_token_ps": 142,
            "computed_ps": 175,
            "last_token_ps": 175,
            "replica": 0,
            "preemptions": 0,
            "itl_max_ps": 17,
            "gaps": [16, 17],
            "place": "in",
            "attempts": 1,
            "arrival_ps": 7,
            "taken_ps": 7,
            "wasted_tokens": 0,
        }
    ]
    assert (told.replicas[0]["busy_ps"], told.replicas[0]["steps"]) == (168, 3)


def test_attention_of_a_later_chunk_counts_its_context_and_is_shifted_after_the_sum() -> None:
    # q16 = 2**16, so attention is half of the sum. Budget 4.
    # step 1: A 3*(0+3) = 9, B 1*(0+1) = 1, sum 10, half 5: 10 + 5 = 15: A done
    # step 2: B 2*(2*1+2) = 8, half 4: 15 + 14 = 29: B done.      (9 // 2 + 1 // 2 would be 4)
    told = story([(0, 3, 1), (0, 3, 1)], pool(max_num_batched_tokens=4, attention_q16=2**16))
    assert tokens(told) == [[15], [29]]


def test_a_long_prompt_is_cut_to_what_the_budget_leaves() -> None:
    # budget 4, base 10 20 30, 1 ps per prompt token; A (0, 2, 4), B (5, 6, 2)
    #  0: A 2 tokens                  10 + 2 = 12
    # 12: A decodes, B 3 tokens       20 + 3 -> 35
    # 35: A decodes, B 3 tokens       20 + 3 -> 58  B's first
    # 58: both decode                 30     -> 88  both done
    speed = {"base_ps": [10, 20, 30], "slope_ps": [0, 0, 0], "prefill_ps_per_token": 1}
    told = story([(0, 2, 4), (5, 6, 2)], pool(max_num_seqs=2, max_num_batched_tokens=4, **speed))
    assert tokens(told) == [[12, 35, 58, 88], [58, 88]]
    assert column(told, "scheduled_ps") == [0, 12]


def test_the_threshold_leaves_tokens_to_those_behind() -> None:
    # budget 4, threshold 3: 10: A 3 of 7, B 1 of 2   20: A 6, B 2 = done   30: A 7 = done
    # without it:            10: A 4                  20: A 7 = done, B 1   30: B 2 = done
    requests = [(0, 7, 1), (0, 2, 1)]
    cut = story(requests, pool(max_num_batched_tokens=4, long_prefill_token_threshold=3))
    whole = story(requests, pool(max_num_batched_tokens=4))
    assert tokens(cut) == [[30], [20]]
    assert tokens(whole) == [[20], [30]]


def test_a_spent_budget_keeps_the_third_out() -> None:
    # budget 2: A and B take it at 0, 10 and 20 and are done at 30; C runs 30 to 60
    told = story([(0, 1, 3)] * 3, pool(max_num_batched_tokens=2))
    assert tokens(told) == [[10, 20, 30], [10, 20, 30], [40, 50, 60]]
    assert column(told, "scheduled_ps") == [0, 0, 30]


def test_seats_keep_the_third_out() -> None:
    # 2 seats: A (2 tokens) leaves at 20, C starts at 20; B (3 tokens) leaves at 30
    told = story([(0, 1, 2), (0, 1, 3), (0, 1, 1)], pool(max_num_seqs=2))
    assert tokens(told) == [[10, 20], [10, 20, 30], [30]]


def test_the_last_running_one_is_preempted_and_computed_again() -> None:
    # 4 blocks of 2 tokens, base 10 20 30; A (3, 4), B (3, 3)
    #  0: both prompts, 2 blocks each, none free      10 -> 10
    # 10: both decode their 4th token, blocks suffice  30 -> 40
    # 40: A's 5th needs a block: B out (2 free), A has 3, 1 free; nobody is admitted   20 -> 60
    # 60: A's 6th; B wants 5 tokens = 3 blocks, 1 free: waits    20 -> 80  A done
    # 80: B computes 5 tokens (no decode: base[0])     10 -> 90  B done
    told = story([(0, 3, 4), (0, 3, 3)], pool(block_size=2, n_kv_blocks=4, base_ps=[10, 20, 30] + [99] * 6))
    assert tokens(told) == [[10, 40, 60, 80], [10, 40, 90]]
    assert column(told, "preemptions") == [0, 1]
    assert column(told, "itl_max_ps") == [30, 50]
    assert column(told, "scheduled_ps") == [0, 0]


def test_a_recompute_with_one_token_left_is_a_decode() -> None:
    # as before with slope 1 and threshold 4
    #  0: both prompts                          10 -> 10
    # 10: both decode, 4 + 4 tokens attended    38 -> 48
    # 48: A's 5th preempts B                    25 -> 73
    # 73: A's 6th; B wants 4 tokens = 2 blocks, 1 free    26 -> 99  A done
    # 99: B 4 of 5 tokens, no decode            10 -> 109
    # 109: B's 5th alone: a decode, 5 attended  25 -> 134
    speed = {"base_ps": [10, 20, 30] + [99] * 6, "slope_ps": [0] + [1] * 8}
    told = story(
        [(0, 3, 4), (0, 3, 3)], pool(block_size=2, n_kv_blocks=4, long_prefill_token_threshold=4, **speed)
    )
    assert tokens(told) == [[10, 48, 73, 99], [10, 48, 134]]


def test_a_sequence_can_be_its_own_victim() -> None:
    # budget 3, 4 blocks of 2 tokens, base 10 20, slope 1; A (3, 4), B (3, 1)
    #  0: A 3 tokens (2 blocks)                               10 -> 10
    # 10: A's 4th; B 2 of 3 (1 block, 1 free)            20 + 4 -> 34
    # 34: A's 5th takes the last; B's 3rd finds none: B out  20 + 5 -> 59
    # 59: A's 6th; B 2 of 3 again (1 block, 0 free)      20 + 6 -> 85  A done
    # 85: B's 3rd                                            10 -> 95  B done
    speed = {"base_ps": [10, 20] + [99] * 7, "slope_ps": [0, 1] + [99] * 7}
    told = story([(0, 3, 4), (0, 3, 1)], pool(block_size=2, n_kv_blocks=4, max_num_batched_tokens=3, **speed))
    assert tokens(told) == [[10, 34, 59, 85], [95]]
    assert column(told, "preemptions") == [0, 1]


def test_a_preempted_one_goes_before_those_who_wait() -> None:
    # 3 blocks of 2, 2 seats; A (2, 3), B (2, 2), C (2, 1)
    #  0: A, B one block each, 1 free          -> 10
    # 10: A's 3rd takes it; B's 3rd: B out     -> 20
    # 20: A's 4th; B wants 3 tokens = 2 blocks, 1 free: stop, though C would fit    -> 30  A done
    # 30: B 3 tokens (2 blocks), C (1 block)   -> 40  both done
    told = story([(0, 2, 3), (0, 2, 2), (0, 2, 1)], pool(block_size=2, n_kv_blocks=3, max_num_seqs=2))
    assert tokens(told) == [[10, 20, 30], [10, 40], [40]]


def test_priority_orders_the_queue() -> None:
    # one seat: A 0 to 10; C (class 0, came last) 10 to 20; B 20 to 30; under fcfs B is before C
    requests = [(0, 1, 1, 1), (1, 1, 1, 1), (2, 1, 1, 0)]
    assert tokens(story(requests, pool(max_num_seqs=1, scheduling="priority"))) == [[10], [30], [20]]
    assert tokens(story(requests, pool(max_num_seqs=1))) == [[10], [20], [30]]


def test_under_priority_the_first_can_fall_while_others_run() -> None:
    # 4 blocks of 2, base 10 20; A (class 5, 3, 4), B (class 0, 3, 3) one ps later
    #  0: A's prompt, 2 blocks                     10 -> 10
    # 10: A's 4th; B's prompt, 2 blocks, 0 free    20 -> 30
    # 30: A's 5th: A itself ranks last and is out; the step is empty, so again: B's 4th; A wants 3 of 2 free
    #                                              20 -> 50
    # 50: B's 5th, 1 free                          20 -> 70  B done
    # 70: A computes 5                             10 -> 80
    # 80: A's 6th                                  20 -> 100
    told = story(
        [(0, 3, 4, 5), (1, 3, 3, 0)],
        pool(block_size=2, n_kv_blocks=4, base_ps=[10, 20] + [99] * 7, scheduling="priority"),
    )
    assert tokens(told) == [[10, 30, 80, 100], [30, 50, 70]]
    assert column(told, "preemptions") == [1, 0]


def test_one_that_falls_itself_ends_the_schedule_for_those_behind() -> None:
    # 6 blocks of 2; A (class 0, 1, 5), B (class 5, 2, 4) at 1, C (class 1, 1, 4) at 11; blocks of A, B, C:
    #  0: 1, -, - -> 10    10: 1, 1, - -> 20    20: 2, 2, 1 -> 30    30: 2, 2, 1 -> 40
    # 40: A's 5th takes the last block; B's 5th: B falls, 2 free; C is not looked at, though it would fit
    #                                                        -> 50  A done, C has no token
    # 50: C's 3rd (2), B computes 5 (3) -> 60  B done         60: C's 4th -> 70
    told = story(
        [(0, 1, 5, 0), (1, 2, 4, 5), (11, 1, 4, 1)],
        pool(block_size=2, n_kv_blocks=6, scheduling="priority"),
    )
    assert tokens(told) == [[10, 20, 30, 40, 50], [20, 30, 40, 60], [30, 40, 60, 70]]


def test_under_priority_a_victim_already_scheduled_leaves_the_step() -> None:
    # 4 blocks of 2, base 10 20; A (class 5, 2, 4), B (class 0, 4, 2) one ps later
    #  0: A's prompt, 1 block                      10 -> 10
    # 10: A's 3rd (2 blocks); B's prompt, 0 free   20 -> 30
    # 30: A's 4th is in; B's 5th needs a block: A out of the step; B alone decodes    20 -> 50  B done
    # 50: A computes 4                             10 -> 60
    # 60: A's 5th                                  20 -> 80
    told = story(
        [(0, 2, 4, 5), (1, 4, 2, 0)],
        pool(block_size=2, n_kv_blocks=4, base_ps=[10, 20] + [99] * 7, scheduling="priority"),
    )
    assert tokens(told) == [[10, 30, 60, 80], [30, 50]]


def test_a_victims_tokens_go_to_those_behind() -> None:
    # budget 3, 4 blocks of 2; A (class 5, 1, 4), B (class 0, 1, 3), C (class 1, 7, 1)
    #  0: A                                          -> 10
    # 10: A's 2nd, B, C 1 of 7: one block each       -> 20
    # 20: A's 3rd (2nd block), B's 2nd, C 2          -> 30
    # 30: A's 4th is in; B's 3rd finds no block: A out, its token back; C gets 2, not 1: C 4    -> 40  B done
    # 40: C 7                                        -> 50  C done (without A's token it would be 60)
    # 50: A 3 of 4 -> 60        60: A's 4th          -> 70
    told = story(
        [(0, 1, 4, 5), (1, 1, 3, 0), (2, 7, 1, 1)],
        pool(block_size=2, n_kv_blocks=4, max_num_batched_tokens=3, scheduling="priority"),
    )
    assert tokens(told) == [[10, 20, 30, 70], [20, 30, 40], [50]]


def test_a_victims_tokens_do_not_lengthen_the_chunk_that_wanted_its_blocks() -> None:
    # budget 3, 4 blocks of 2; A (class 5, 1, 4), B (class 0, 7, 1)
    #  0: A -> 10    10: A's 2nd, B 2 -> 20    20: A's 3rd (2nd block), B 4 (2nd block) -> 30
    # 30: A's 4th is in; B gets 2 of its last 3 and no block: A out, B stays at 2: B 6    -> 40
    # 40: B 7 (4 blocks), none left for A -> 50  B done    50: A 3 -> 60    60: A's 4th -> 70
    told = story(
        [(0, 1, 4, 5), (1, 7, 1, 0)],
        pool(block_size=2, n_kv_blocks=4, max_num_batched_tokens=3, scheduling="priority"),
    )
    assert tokens(told) == [[10, 20, 30, 70], [50]]


def test_no_batching_serves_one_at_a_time() -> None:
    # A 0 to 20, B 20 to 30
    assert tokens(story([(0, 1, 2), (0, 1, 1)], pool(batching="none"))) == [[10, 20], [30]]


def test_a_static_batch_starts_full_and_ends_whole() -> None:
    # 2 seats, base 10 20 30; A (0, 1, 2), B (7, 1, 3), C (8, 1, 1), D (60, 1, 1), E (70, 1, 1)
    #  7: A and B    10 -> 17     17: both    30 -> 47  A done     47: B, C kept out    20 -> 67  B done
    # 67: C and D    10 -> 77  both done; E waits for a second one for ever
    requests = [(0, 1, 2), (7, 1, 3), (8, 1, 1), (60, 1, 1), (70, 1, 1)]
    told = story(requests, pool(batching="static", max_num_seqs=2, base_ps=[10, 20, 30], slope_ps=[0] * 3))
    assert tokens(told) == [[17, 47], [17, 47, 67], [77], [77], [-1]]
    assert column(told, "scheduled_ps") == [7, 7, 67, 67, -1]
    assert told.requests[4]["outcome"] == "inside"
    assert told.requests[4]["routed_ps"] == 70


def test_a_static_batch_is_admitted_over_several_steps_and_no_further() -> None:
    # 3 seats, budget 2, all (2, 2) at 0, D (5, 2, 1)
    #  0: A 2 -> 10   10: A, B 1 -> 20 A done   20: B 1, C 1 -> 30   30: B, C 1 -> 40 B done   40: C -> 50
    # D fits into the step at 40 and is kept out of it
    told = story(
        [(0, 2, 2)] * 3 + [(5, 2, 1)], pool(batching="static", max_num_seqs=3, max_num_batched_tokens=2)
    )
    assert tokens(told) == [[10, 20], [30, 40], [40, 50], [-1]]


def test_a_preempted_member_comes_back_into_its_batch() -> None:
    # the preemption story, static with 2 seats, and a third request that may not slip in
    #  0, 10, 20 as there (10 ps a step); 20: B out; 30: A's last -> 40; 40: B 5 tokens -> 50 done
    # C and D (5, 1, 1) form the next batch at 50 -> 60
    told = story(
        [(0, 3, 4), (0, 3, 3), (5, 1, 1), (5, 1, 1)],
        pool(block_size=2, n_kv_blocks=4, batching="static", max_num_seqs=2),
    )
    assert tokens(told) == [[10, 20, 30, 40], [10, 20, 50], [60], [60]]


def test_a_dynamic_batch_starts_full_or_late() -> None:
    # 2 seats, delay 50: A (0) waits until 50 -> 60; B (55), C (58) are two at 60 -> 70
    # D (100) would go at 150, when E comes too: both are in the batch -> 160
    requests = [(0, 1, 1), (55, 1, 1), (58, 1, 1), (100, 1, 1), (150, 1, 1)]
    told = story(requests, pool(batching="dynamic", max_num_seqs=2, max_batch_delay_ps=50))
    assert tokens(told) == [[60], [70], [70], [160], [160]]


def test_a_dynamic_delay_starts_when_the_replica_gets_the_request() -> None:
    # held until 100, then 50 of delay
    told = story([(0, 1, 1)], pool(ready_at=[100], batching="dynamic", max_batch_delay_ps=50))
    assert tokens(told) == [[160]]


def test_prompts_stay_whole_without_chunks() -> None:
    # budget 4; A (2, 2), B (3, 1), C (6, 1)
    #  0: A 2; B 3 of 2 left: stop -> 10    10: A 1, B 3 -> 20 both done    20: C alone, 6 of 4 -> 30
    told = story([(0, 2, 2), (0, 3, 1), (0, 6, 1)], pool(max_num_batched_tokens=4, chunked_prefill=False))
    assert tokens(told) == [[10, 20], [20], [30]]


def test_an_embedding_ends_with_its_prompt() -> None:
    # budget 3: 3 tokens -> 10, 2 tokens -> 20
    told = story([(0, 5, 0)], pool(max_num_batched_tokens=3))
    request = told.requests[0]
    assert (request["outcome"], request["first_token_ps"], request["last_token_ps"]) == ("completed", 20, 20)
    assert (request["gaps"], request["itl_max_ps"]) == ([], 0)
