"""The tests that prove each fault experiment, and the score that `make faults` prints.

An experiment holds when all its tests pass and cover all of it. `rest` names what they do not cover; such an
experiment holds in part. `waits` names the part of the appliance that does not exist yet and that it is about.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parents[1]

KILLED_RECORDER = "test_a_recorder_killed_at_random_points_declares_what_it_missed"
KILLED_BOTH = "test_recorders_and_writer_killed_together_still_account_for_everything"
HANDSHAKES = "test_refused_handshakes_are_retried_and_the_venues_time_is_respected"


class Experiment(NamedTuple):
    """One line of the scoreboard."""

    title: str
    tests: tuple[str, ...] = ()  # names of test functions, which are unique
    rest: str = ""  # what no test covers yet
    waits: str = ""  # the part that does not exist yet


EXPERIMENTS: dict[str, Experiment] = {
    "C1": Experiment("kill -9 of the recorder", (KILLED_RECORDER, KILLED_BOTH)),
    "C2": Experiment(
        "kill -9 of the writer",
        (
            "test_a_writer_killed_at_random_points_costs_nothing",
            "test_a_writer_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves",
            "test_a_writer_killed_inside_its_transaction_leaves_all_of_it_or_nothing",
            KILLED_BOTH,
        ),
    ),
    "C3": Experiment(
        "journal cut at every byte",
        (
            "test_a_segment_cut_at_any_byte_is_read_up_to_the_cut_and_recording_goes_on",
            "test_a_journal_cut_at_a_random_byte_loses_only_what_was_behind_the_cut",
        ),
    ),
    "C4": Experiment(
        "bit flipped in the journal",
        (
            "test_a_wrong_bit_costs_at_most_its_own_block",
            "test_a_flipped_bit_in_any_part_of_a_block_costs_that_part_and_is_declared",
            "test_bits_flipped_anywhere_in_what_is_not_loaded_yet_are_quarantined_and_declared",
        ),
    ),
    "C5": Experiment("Postgres down", ("test_an_outage_of_postgres_costs_no_row_and_no_memory",), "an outage of hours"),
    "C6": Experiment(
        "backends ended, server restarted",
        (
            "test_backends_ended_again_and_again_cost_no_row",
            "test_a_server_stopped_fast_or_killed_and_started_again_costs_no_row",
            "test_a_server_killed_under_load_comes_back_with_all_that_was_committed",
        ),
        "failover to another address",
    ),
    "C7": Experiment("Postgres refuses", ("test_a_database_that_refuses_is_retried_slowly_and_used_again",)),
    "C8": Experiment("a table is locked", ("test_a_lock_on_a_table_delays_the_writer_and_nothing_else",)),
    "C9": Experiment(
        "disk full",
        (
            "test_a_full_disk_sheds_declares_and_resumes_by_itself",
            "test_a_full_disk_costs_whole_blocks_and_writing_resumes_with_space",
        ),
        "the disk of Postgres, the disk of the logs",
    ),
    "C10": Experiment(
        "the disk answers EIO",
        (
            "test_a_disk_that_fails_ends_the_recorder_at_once",
            "test_a_sync_that_fails_ends_the_trust_in_the_journal",
        ),
    ),
    "C11": Experiment(
        "no inodes, no file descriptors",
        (
            "test_a_disk_without_inodes_sheds_declares_and_resumes_by_itself",
            "test_a_recorder_without_file_descriptors_says_so_and_reconnects_once_it_has_some",
        ),
    ),
    "C12": Experiment(
        "clock steps",
        (
            "test_a_clock_set_back_while_a_gap_is_open_moves_its_begin_along",
            "test_a_clock_that_stepped_back_leaves_no_gap_that_ends_before_it_begins",
            "test_a_clock_that_is_an_hour_ahead_for_a_while_doubles_no_slot_and_stops_no_polls",
            "test_a_clock_that_is_set_back_by_an_hour_first_is_followed_by_no_missed_slot",
            "test_a_machine_that_sleeps_for_an_hour_misses_the_slots_asleep",
            "test_a_job_is_woken_within_its_period_after_the_clock_was_set_back",
        ),
        "a whole appliance whose clock steps, suspend and resume",
    ),
    "C13": Experiment(
        "half-open connections",
        ("test_half_open_connections_are_noticed_within_fifteen_seconds",),
        "packets dropped by the network; one way only",
    ),
    "C14": Experiment(
        "pongs but no data",
        (
            "test_a_connection_with_pongs_but_no_data_is_replaced_once_and_a_quiet_market_is_left_alone",
            "test_a_silent_stream_is_resubscribed_and_the_time_between_is_a_gap",
            "test_a_dead_connection_is_renewed_at_once_and_the_others_are_left_alone",
            "test_a_quiet_market_is_never_disturbed_once_its_rate_is_known",
            "test_a_stream_that_is_dead_by_rest_is_redriven_and_its_gap_is_declared",
            "test_a_market_that_is_quiet_by_rest_is_not_redriven",
            "test_without_an_answer_of_rest_a_silence_is_judged_as_before",
        ),
    ),
    "C15": Experiment(
        "slow consumer",
        (
            "test_a_lock_on_a_table_delays_the_writer_and_nothing_else",
            "test_a_link_without_room_drops_frames_and_declares_it",
        ),
        "a starved processor, a hogged interpreter",
    ),
    "C16": Experiment("burst", ("test_a_burst_loses_nothing",)),
    "C17": Experiment(
        "malformed frames",
        ("test_each_malformed_frame_is_quarantined_with_its_reason_and_the_session_lives",),
    ),
    "C18": Experiment(
        "poison again and again",
        ("test_the_same_poison_at_each_reconnect_is_quarantined_each_time_and_recording_goes_on",),
    ),
    "C19": Experiment(
        "duplicates",
        (
            "test_repeated_trades_are_stored_once_and_the_duplicates_are_counted_exactly",
            "test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows",
        ),
    ),
    "C20": Experiment(
        "skipped, reordered, reset sequence",
        (
            "test_a_broken_sequence_is_a_gap_of_that_instrument_alone_and_a_reset_is_a_new_epoch",
            "test_a_break_in_one_book_resyncs_that_book_and_disturbs_no_other_stream",
            "test_a_skipped_sequence_number_of_a_connection_is_a_gap_of_all_its_streams",
        ),
    ),
    "C21": Experiment(
        "corrupt book",
        (
            "test_a_wrong_checksum_brings_one_fresh_book_of_that_symbol",
            "test_checksums_that_are_always_wrong_are_no_storm_of_subscriptions",
            "test_a_crossed_book_is_replaced",
        ),
    ),
    "C22": Experiment(
        "maintenance",
        (
            HANDSHAKES,
            "test_a_session_end_that_the_venue_announces_leaves_no_gap",
            "test_after_any_fault_everything_sent_is_stored_or_declared",
        ),
        "a state of its own",
    ),
    "C23": Experiment(
        "rate limits",
        (
            HANDSHAKES,
            "test_a_server_that_names_a_time_is_left_alone_until_then",
            "test_a_ban_holds_all_requests_back_for_as_long_as_it_says",
            "test_a_pause_holds_for_all_and_is_capped",
            "test_threads_share_a_budget",
            "test_processes_together_never_send_more_than_the_budget_even_when_one_is_killed",
            "test_live_books_find_their_part_of_the_bucket_while_polls_take_all_they_may",
            "test_a_retry_after_pauses_the_other_processes",
        ),
        "a healer that shares the budget",
    ),
    "C24": Experiment(
        "DNS",
        (
            "test_a_host_without_an_address_is_transient",
            "test_a_resolver_that_hangs_ends_at_the_deadline",
            "test_an_address_that_drops_packets_leaves_time_for_the_next_and_none_is_remembered",
        ),
        "SERVFAIL for an hour",
    ),
    "C25": Experiment(
        "TLS",
        (
            "test_a_self_signed_certificate_is_always_refused",
            "test_a_venue_behind_an_own_authority_is_trusted_by_the_setting_alone",
            "test_a_tls_handshake_that_stalls_ends_at_the_deadline",
        ),
        "an expired certificate, an alert before our own expires",
    ),
    "C26": Experiment("out of memory", (KILLED_RECORDER,), "a cgroup limit, MemoryError"),
    "C27": Experiment(
        "missing partitions",
        (
            "test_days_that_have_no_partition_get_one",
            "test_rows_leave_the_default_partition_when_their_day_gets_its_own",
            "test_a_long_query_on_the_default_partition_does_not_stop_loading",
        ),
        "midnight of a year's end with an injected clock",
    ),
    "C28": Experiment(
        "time zones",
        (KILLED_RECORDER, "test_a_leap_second_is_the_instant_of_the_next_minute"),
        "all tests in four zones (the rig draws one), a lint for naive times",
    ),
    "C29": Experiment(
        "supervisor",
        (
            "test_the_appliance_survives_the_kill_of_every_program_and_leaves_no_process",
            "test_a_killed_supervisord_leaves_nothing_that_stop_or_the_next_start_cannot_end",
            "test_a_second_recorder_or_writer_is_refused_and_the_first_continues",
        ),
        "a restart storm, reload under load",
    ),
    "C30": Experiment(
        "stdout blocked",
        (
            "test_a_pipe_without_a_reader_blocks_no_caller_and_drops_are_counted_and_reported",
            "test_a_closed_pipe_is_no_error_of_the_program",
        ),
        "a full disk under the logs",
    ),
    "C31": Experiment(
        "deploy under load",
        (
            "test_a_clean_stop_and_start_keeps_everything_up_to_the_stop",
            "test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows",
            "test_an_old_session_that_dies_before_the_new_one_is_there_leaves_a_declared_gap",
            "test_a_venue_moves_to_several_processes_and_back_and_every_item_is_accounted_for",
            "test_a_new_process_takes_over_under_load_and_another_one_back",
            "test_a_successor_that_never_becomes_live_leaves_the_old_process_recording",
            "test_a_successor_killed_while_it_waits_leaves_no_trace",
            "test_an_accepted_offer_without_a_continuation_costs_the_usual_gap",
            "test_recorders_are_replaced_and_a_broken_release_leaves_the_old_process_recording",
        ),
        "migrations under load",
    ),
    "C32": Experiment(
        "faults of paged REST answers",
        (
            "test_a_cursor_that_comes_again_ends_the_round",
            "test_a_cursor_that_repeats_ends_the_round",
            "test_a_repeated_cursor_ends_in_an_error_and_not_in_a_loop",
            "test_a_list_without_an_end_is_left_after_a_hundred_pages",
            "test_a_body_that_is_no_page_is_refused",
            "test_an_answer_that_is_no_list_does_not_make_markets_vanish",
            "test_a_cursor_that_loops_ends_the_read_and_a_refusal_pauses_the_venue",
            "test_a_history_that_differs_at_the_ends_of_a_hole_fills_nothing",
            "test_an_id_that_the_history_lists_late_is_filled_by_a_later_read",
            "test_a_history_that_rounds_its_times_adds_no_second_row",
            "test_what_is_no_page_is_an_error_of_that_page",
        ),
        "the history of Polymarket, daily files",
    ),
    "C33": Experiment(
        "symbols delisted or refused",
        (
            "test_a_refused_symbol_is_found_and_the_others_live",
            "test_newly_listed_symbols_are_recorded_and_delisted_ones_are_not",
            "test_a_market_that_is_missing_three_times_has_vanished",
            "test_a_market_whose_row_is_not_understood_has_not_vanished",
            "test_after_another_tick_size_every_level_is_on_the_new_grid",
        ),
        "renames, pauses",
    ),
    "C34": Experiment(
        "alert sink down",
        (
            "test_a_watchdog_killed_between_queue_and_send_loses_nothing_and_sends_nothing_twice",
            "test_a_message_whose_outcome_a_kill_hid_is_repeated_after_the_cooldown_with_its_id",
            "test_whatever_fails_nothing_is_lost_and_nothing_comes_twice_within_a_cooldown",
            "test_flapping_each_30_s_becomes_one_summary_in_a_cooldown",
            "test_a_sink_that_fails_gets_each_message_once_it_works",
            "test_an_alert_that_flaps_each_30_s_is_summed_up_though_the_watchdog_is_killed",
            "test_an_answer_says_when_to_try_again",
            "test_a_slow_sink_may_have_taken_it_and_the_time_is_bounded",
            "test_a_certificate_that_nothing_vouches_for_is_refused_before_anything_is_sent",
        ),
    ),
    "C35": Experiment(
        "restore of a backup",
        (
            "test_a_restore_on_the_same_machine_ends_with_every_row_once",
            "test_a_restore_on_a_clean_machine_makes_its_own_passwords",
            "test_an_older_backup_under_a_trimmed_journal_declares_what_is_gone",
            "test_the_last_complete_day_is_compared_by_counts_and_hashes",
            "test_a_damaged_file_is_found_and_never_restored",
        ),
        "two machines, a server of your own",
    ),
    "C36": Experiment(
        "all venues away at once",
        (HANDSHAKES, "test_links_of_a_venue_start_apart_and_come_back_apart_after_a_shared_drop"),
        "half an hour of it, healing within the rate limits",
    ),
    "C37": Experiment(
        "a random mix of it all",
        ("test_a_random_mix_of_faults_leaves_everything_accounted_for",),
        "a soak of days",
    ),
    "C38": Experiment(
        "journal and database of different ages",
        (
            "test_whatever_happens_to_journal_and_database_all_is_loaded_once_or_declared",
            "test_an_older_database_is_filled_again_from_the_kept_segments",
            "test_an_older_database_declares_what_was_removed_meanwhile",
            "test_a_journal_restored_from_an_older_copy_is_noticed_at_once",
            "test_a_journal_that_was_removed_ends_in_gaps_that_end_with_the_first_new_data",
            "test_two_machines_with_copies_of_one_journal_load_both_exactly_once",
            "test_what_another_database_has_not_loaded_stays",
        ),
        "two hosts as real machines; every seed of the random rounds",
    ),
    "C39": Experiment(
        "segment missing, cut or repeated",
        (
            "test_a_segment_that_is_missing_is_declared_and_loading_goes_on_behind_it",
            "test_a_segment_cut_between_two_blocks_is_declared",
            "test_blocks_cut_out_of_the_middle_are_declared",
            "test_repeated_blocks_are_loaded_once",
            "test_whatever_happens_to_journal_and_database_all_is_loaded_once_or_declared",
        ),
    ),
    "C40": Experiment(
        "one message stamped ahead or behind",
        (
            "test_missing_ids_are_declared_whatever_the_stamp_of_one_print",
            "test_a_gap_ends_with_good_trades_soon_after_a_stamp_ahead",
            "test_what_is_not_there_is_declared_and_nothing_else_whatever_the_stamps",
            "test_an_old_checkpoint_with_a_time_ahead_does_not_blind_the_next_process",
            "test_a_book_stamped_in_another_unit_or_far_ahead_drops_no_change",
        ),
        "real processes, every venue",
    ),
    "C41": Experiment(
        "front door",
        (
            "test_an_answer_without_an_end_ends_at_the_deadline_or_at_the_size",
            "test_a_wrong_answer_is_one_reason",
            "test_a_retry_after_of_any_kind_is_bounded",
            "test_a_huge_retry_after_silences_rest_for_fifteen_minutes_at_most",
            "test_the_reason_of_a_handshake_without_an_end_is_in_the_figures",
        ),
    ),
    "C42": Experiment(
        "venue that speaks and closes",
        (
            "test_ten_minutes_of_misbehaviour_never_exceed_the_connects_of_the_venue",
            "test_a_venue_that_speaks_and_closes_is_called_ever_less_often",
            "test_real_processes_together_make_no_more_connects_than_allowed",
        ),
    ),
    "C43": Experiment(
        "Postgres hangs without dying",
        (
            "test_a_locked_table_is_reported_with_its_holder_and_costs_no_row",
            "test_a_stopped_server_is_reported_and_does_not_keep_a_program_from_ending",
        ),
    ),
    "C44": Experiment(
        "database made again or restored under the appliance",
        (
            "test_a_database_made_again_gets_schema_names_and_subscriptions",
            "test_a_restore_is_not_disturbed_and_nothing_is_unsubscribed",
            "test_a_partition_that_is_gone_is_noticed_declared_and_made_again",
        ),
    ),
    "C45": Experiment(
        "a row or frame in quarantine",
        (
            "test_a_row_postgres_refuses_is_quarantined_and_the_rest_is_stored",
            "test_a_symbol_is_found_in_every_spelling_and_only_as_a_whole",
            "test_an_odd_field_costs_only_the_channel_that_the_frame_names",
            "test_a_damaged_frame_concerns_everything",
        ),
    ),
    "C46": Experiment(
        "clock set back or forward, also across a restart",
        (
            "test_a_clock_set_back_across_a_restart_leaves_the_gap_where_the_loss_was",
            "test_a_clock_set_back_while_a_gap_is_open_moves_its_begin_along",
            "test_a_clock_that_steps_makes_nothing_older_than_one_segment",
        ),
        "a whole appliance whose clock steps",
    ),
    "C47": Experiment(
        "supervisord killed at a random moment",
        ("test_a_killed_supervisord_leaves_nothing_that_stop_or_the_next_start_cannot_end",),
    ),
    "C48": Experiment(
        "hostile words of a venue",
        (
            "test_commands_about_the_venue_show_its_words",
            "test_a_recording_and_its_replay_show_the_words",
            "test_status_and_the_words_of_a_start_show_what_a_recorder_reports",
            "test_an_odd_value_of_one_instrument_costs_no_other_instrument",
            "test_nested_json_of_any_depth_is_an_invalid_answer",
        ),
        "verify and doctor over hostile rows",
    ),
    "C49": Experiment(
        "texts that are no JSON, odd fields, early and late data",
        (
            "test_a_notice_and_a_text_that_is_no_json_concern_nothing",
            "test_an_absent_bid_is_none_with_its_size",
            "test_a_pong_of_kraken_with_a_result_is_a_pong",
            "test_data_before_its_acknowledgement_is_kept_until_then",
            "test_a_straggler_after_the_end_of_its_channel_costs_no_number",
            "test_an_odd_row_costs_itself",
        ),
    ),
    "C50": Experiment(
        "ids begin again, a foreign snapshot, another unit",
        (
            "test_every_snapshot_is_a_book_the_venue_had_and_no_loss_is_silent",
            "test_a_restart_of_ids_survives_the_restart_of_the_process",
            "test_a_book_stamped_in_another_unit_or_far_ahead_drops_no_change",
        ),
        "every venue with real processes",
    ),
}


def files_of(name: str) -> list[Path]:
    """Return the files below tests/ that define a test function."""
    return [path for path in TESTS.rglob("test_*.py") if re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE)]


def tests_elsewhere() -> Iterator[str]:
    """Yield the node ids of the tests that count and stand outside of tests/faults."""
    for name in sorted({test for experiment in EXPERIMENTS.values() for test in experiment.tests}):
        for path in files_of(name):
            if path.parent.name != "faults":
                yield f"{path.relative_to(TESTS.parent)}::{name}"


def verdict(experiment: Experiment, outcomes: Mapping[str, Sequence[str]]) -> str:
    """Return how an experiment ended in this run.

    Args:
        experiment: The experiment to judge.
        outcomes: How each run of a test ended, by the name of the test function.
    """
    if not experiment.tests:
        return "waits" if experiment.waits else "not covered"
    found = [outcome for test in experiment.tests for outcome in outcomes.get(test, ["not run"])]
    for bad, word in (("failed", "NOT HELD"), ("error", "NOT HELD"), ("not run", "not run")):
        if bad in found:
            return word
    if "passed" not in found:
        return "skipped"
    return "in part" if experiment.rest or "skipped" in found else "held"


def table() -> str:
    """Return the experiments as a table in Markdown."""
    lines = ["| # | experiment | state | tests |", "| --- | --- | --- | --- |"]
    for number, one in EXPERIMENTS.items():
        state = f"in part, without: {one.rest}" if one.rest else "held"
        if not one.tests:
            state = f"waits for {one.waits}" if one.waits else "not covered"
        tests = "<br>".join(f"[`{test[5:]}`](../{files_of(test)[0].relative_to(TESTS.parent)})" for test in one.tests)
        lines.append(f"| {number} | {one.title} | {state} | {tests} |")
    return "\n".join(lines)


def write_scoreboard(reporter: Any) -> None:
    """Print the score of this run.

    Args:
        reporter: The terminal reporter of pytest.
    """
    outcomes: dict[str, list[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, ()):
            outcomes.setdefault(report.nodeid.split("[", 1)[0].rsplit("::", 1)[-1], []).append(outcome)
    reporter.section("fault experiments")
    verdicts = {number: verdict(experiment, outcomes) for number, experiment in EXPERIMENTS.items()}
    for number, experiment in EXPERIMENTS.items():
        rest = f"without: {experiment.rest}" if verdicts[number] == "in part" and experiment.rest else ""
        rest = f"for {experiment.waits}" if experiment.waits else rest
        reporter.write_line(f"{number:4} {verdicts[number]:12} {experiment.title:36} {rest}".rstrip())
    count = list(verdicts.values()).count
    reporter.write_line(f"held {count('held')} of {len(EXPERIMENTS)}, {count('in part')} more in part")


if __name__ == "__main__":  # .ci/faults asks for them
    print(*tests_elsewhere(), sep="\n")
