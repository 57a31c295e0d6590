"""Which fault experiment is shown by which tests, and the score that `make faults` prints.

An experiment is held when all its tests pass and they show all of it; `rest` says what they do not show, and then it
is held in part. Healing by REST and alerts are counted once there are a healer and a watchdog.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

KILLS = "tests/faults/test_kills.py::"
STORE_KILLS = "tests/faults/test_store_kills.py::"
DATABASE = "tests/faults/test_database_faults.py::"
DISK = "tests/faults/test_disk_faults.py::"
VENUE = "tests/faults/test_venue_faults.py::"
MISDEEDS = "tests/faults/test_misdeeds.py::"
JOURNAL = "tests/property/test_journal.py::"
LINK = "tests/integration/test_link.py::"
BREAK = "tests/faults/test_make_before_break.py::"
REST = "tests/integration/test_rest.py::"
LIVENESS = "tests/unit/test_liveness.py::"
STORE = "tests/integration/test_store.py::"
APPLIANCE = "tests/integration/test_appliance_run.py::"
KILLED_RECORDER = KILLS + "test_a_recorder_killed_at_random_points_declares_what_it_missed"
KILLED_BOTH = KILLS + "test_recorders_and_writer_killed_together_still_account_for_everything"
HANDSHAKES = VENUE + "test_refused_handshakes_are_retried_and_the_venues_time_is_respected"


class Experiment(NamedTuple):
    """One line of the scoreboard."""

    title: str
    tests: tuple[str, ...] = ()
    rest: str = ""  # what no test shows yet


EXPERIMENTS: dict[str, Experiment] = {
    "C1": Experiment("kill -9 of the recorder", (KILLED_RECORDER, KILLED_BOTH)),
    "C2": Experiment(
        "kill -9 of the writer",
        (
            KILLS + "test_a_writer_killed_at_random_points_costs_nothing",
            STORE_KILLS + "test_a_writer_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves",
            STORE_KILLS + "test_a_writer_killed_inside_its_transaction_leaves_all_of_it_or_nothing",
            KILLED_BOTH,
        ),
    ),
    "C3": Experiment(
        "journal cut at every byte",
        (
            JOURNAL + "test_a_segment_cut_at_any_byte_is_read_up_to_the_cut_and_recording_goes_on",
            KILLS + "test_a_journal_cut_at_a_random_byte_loses_only_what_was_behind_the_cut",
        ),
    ),
    "C4": Experiment(
        "bit flipped in the journal",
        (
            JOURNAL + "test_a_wrong_bit_costs_at_most_its_own_block",
            DISK + "test_a_flipped_bit_in_any_part_of_a_block_costs_that_part_and_is_declared",
            DISK + "test_bits_flipped_anywhere_in_what_is_not_loaded_yet_are_quarantined_and_declared",
        ),
    ),
    "C5": Experiment(
        "Postgres down", (DATABASE + "test_an_outage_of_postgres_costs_no_row_and_no_memory",), "an outage of hours"
    ),
    "C6": Experiment(
        "backends ended, server restarted",
        (
            DATABASE + "test_backends_ended_again_and_again_cost_no_row",
            DATABASE + "test_a_server_stopped_fast_or_killed_and_started_again_costs_no_row",
            STORE_KILLS + "test_a_server_killed_under_load_comes_back_with_all_that_was_committed",
        ),
        "failover to another address",
    ),
    "C7": Experiment(
        "Postgres refuses", (DATABASE + "test_a_database_that_refuses_is_asked_without_haste_and_taken_up_again",)
    ),
    "C8": Experiment("a table is locked", (DATABASE + "test_a_lock_on_a_table_delays_the_writer_and_nothing_else",)),
    "C9": Experiment(
        "disk full",
        (
            DISK + "test_a_full_disk_sheds_declares_and_resumes_by_itself",
            JOURNAL + "test_a_full_disk_costs_whole_blocks_and_writing_resumes_with_space",
        ),
        "the disk of Postgres, the disk of the logs",
    ),
    "C10": Experiment(
        "the disk answers EIO",
        (
            DISK + "test_a_disk_that_fails_ends_the_recorder_at_once",
            JOURNAL + "test_a_sync_that_fails_ends_the_trust_in_the_journal",
        ),
    ),
    "C11": Experiment("no inodes, no file descriptors"),
    "C12": Experiment(
        "clock steps",
        (
            "tests/unit/test_continuity_sessions.py::test_a_clock_stepped_back_cannot_end_a_gap_before_it_began",
            "tests/unit/test_damage.py::test_a_clock_that_stepped_back_leaves_no_gap_that_ends_before_it_begins",
        ),
        "a whole appliance whose clock steps, suspend and resume",
    ),
    "C13": Experiment(
        "half-open connections",
        (VENUE + "test_half_open_connections_are_noticed_within_fifteen_seconds",),
        "packets dropped by the network; one way only",
    ),
    "C14": Experiment(
        "pongs but no data",
        (
            VENUE + "test_a_ponging_socket_without_data_is_made_anew_once_and_a_quiet_market_is_left_alone",
            LINK + "test_a_silent_stream_is_ended_and_begun_again_and_the_time_between_is_a_gap",
            LIVENESS + "test_a_dead_connection_is_made_anew_at_once_and_the_others_are_left_alone",
            LIVENESS + "test_a_quiet_market_is_never_disturbed_once_its_rate_is_known",
        ),
        "REST as the witness",
    ),
    "C15": Experiment(
        "slow consumer",
        (
            DATABASE + "test_a_lock_on_a_table_delays_the_writer_and_nothing_else",
            "tests/unit/test_tape.py::test_a_link_that_finds_no_room_sheds_and_says_so",
        ),
        "a starved processor, a hogged interpreter",
    ),
    "C16": Experiment("burst", (VENUE + "test_a_burst_loses_nothing",)),
    "C17": Experiment(
        "malformed frames",
        (MISDEEDS + "test_each_malformed_frame_is_quarantined_with_its_reason_and_the_session_lives",),
    ),
    "C18": Experiment(
        "poison again and again",
        (MISDEEDS + "test_the_same_poison_at_each_reconnect_is_quarantined_each_time_and_recording_goes_on",),
    ),
    "C19": Experiment(
        "duplicates",
        (
            MISDEEDS + "test_repeated_trades_are_stored_once_and_the_duplicates_are_counted_exactly",
            BREAK + "test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows",
        ),
    ),
    "C20": Experiment(
        "skipped, reordered, reset sequence",
        (
            MISDEEDS + "test_a_broken_sequence_is_a_gap_of_that_instrument_alone_and_a_reset_is_a_new_epoch",
            MISDEEDS + "test_a_break_in_one_book_brings_that_book_anew_and_disturbs_no_other_stream",
            MISDEEDS + "test_a_hole_in_the_count_of_a_connection_is_a_gap_of_all_its_streams",
        ),
    ),
    "C21": Experiment(
        "corrupt book",
        (
            MISDEEDS + "test_a_wrong_checksum_brings_one_fresh_book_of_that_symbol",
            MISDEEDS + "test_checksums_that_are_always_wrong_are_no_storm_of_subscriptions",
            MISDEEDS + "test_a_crossed_book_is_made_anew",
        ),
    ),
    "C22": Experiment(
        "maintenance",
        (
            HANDSHAKES,
            BREAK + "test_an_end_the_venue_announces_is_forestalled",
            MISDEEDS + "test_after_any_misdeed_everything_sent_is_stored_or_declared",
        ),
        "a state of its own",
    ),
    "C23": Experiment(
        "rate limits",
        (
            HANDSHAKES,
            LINK + "test_a_server_that_names_a_time_is_not_bothered_before_it",
            REST + "test_a_ban_holds_all_requests_back_for_as_long_as_it_says",
            REST + "test_threads_share_a_budget",
        ),
    ),
    "C24": Experiment(
        "DNS",
        ("tests/integration/test_database.py::test_a_host_without_an_address_is_transient",),
        "a venue whose name fails or moves",
    ),
    "C25": Experiment(
        "TLS",
        (LINK + "test_a_certificate_nobody_signed_is_refused_for_ever",),
        "expired, wrong host, a stalled handshake",
    ),
    "C26": Experiment("out of memory", (KILLED_RECORDER,), "a cgroup limit, MemoryError"),
    "C27": Experiment(
        "missing partitions",
        (
            STORE + "test_days_that_have_no_partition_get_one",
            STORE + "test_rows_in_the_default_partition_move_out_when_their_day_is_made",
            STORE + "test_a_long_query_on_the_default_partition_does_not_stop_loading",
        ),
        "midnight of a year's end with an injected clock",
    ),
    "C28": Experiment(
        "time zones",
        (KILLED_RECORDER, "tests/unit/test_timestamps.py::test_a_leap_second_is_the_instant_of_the_next_minute"),
        "all tests in four zones (the rig draws one), a lint for naive times",
    ),
    "C29": Experiment(
        "supervisor",
        (
            APPLIANCE + "test_the_appliance_survives_the_kill_of_every_program_and_leaves_no_process",
            APPLIANCE + "test_programs_of_a_killed_supervisord_are_found_and_stopped",
            KILLS + "test_a_second_recorder_or_writer_is_refused_and_the_first_goes_on",
        ),
        "a restart storm, reload under load",
    ),
    "C30": Experiment(
        "stdout blocked",
        (
            "tests/unit/test_log.py::test_a_pipe_nobody_reads_blocks_no_caller_and_drops_are_counted_and_told",
            "tests/unit/test_log.py::test_a_closed_pipe_is_no_error_of_the_program",
        ),
        "a full disk under the logs",
    ),
    "C31": Experiment(
        "deploy under load",
        (
            KILLS + "test_a_clean_stop_and_start_keeps_everything_up_to_the_stop",
            BREAK + "test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows",
            BREAK + "test_an_old_session_that_dies_before_the_new_one_is_there_leaves_a_declared_gap",
            "tests/faults/test_processes.py::"
            "test_a_venue_moves_to_several_processes_and_back_and_every_item_is_accounted_for",
        ),
        "overlap of two processes, migrations under load",
    ),
    "C32": Experiment("faults of the REST healer"),
    "C33": Experiment(
        "symbols delisted or refused",
        (LINK + "test_a_refused_symbol_is_found_and_the_others_live",),
        "renames, pauses, tick sizes",
    ),
    "C34": Experiment("alert sink down"),
    "C35": Experiment("restore of a backup"),
    "C36": Experiment("all venues away at once", (HANDSHAKES,), "half an hour of it, healing within the rate limits"),
    "C37": Experiment(
        "a random mix of it all",
        ("tests/faults/test_mix.py::test_a_random_mix_of_faults_leaves_everything_accounted_for",),
        "a soak of days",
    ),
}


def verdict(experiment: Experiment, outcomes: Mapping[str, Sequence[str]]) -> str:
    """What the outcomes of this run say about an experiment.

    Args:
        experiment: Which.
        outcomes: Per test, without its parameters, how each run of it ended.
    """
    if not experiment.tests:
        return "not covered"
    found = [outcome for test in experiment.tests for outcome in outcomes.get(test, ["not run"])]
    for bad, word in (("failed", "NOT HELD"), ("error", "NOT HELD"), ("not run", "not run")):
        if bad in found:
            return word
    if "passed" not in found:
        return "skipped"
    return "in part" if experiment.rest or "skipped" in found else "held"


def write_scoreboard(reporter: Any) -> None:
    """Print the score of this run.

    Args:
        reporter: pytest's terminal reporter.
    """
    outcomes: dict[str, list[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, ()):
            outcomes.setdefault(report.nodeid.split("[", 1)[0], []).append(outcome)
    reporter.section("fault experiments")
    verdicts = {number: verdict(experiment, outcomes) for number, experiment in EXPERIMENTS.items()}
    for number, experiment in EXPERIMENTS.items():
        rest = f"without: {experiment.rest}" if verdicts[number] == "in part" and experiment.rest else ""
        reporter.write_line(f"{number:4} {verdicts[number]:12} {experiment.title:36} {rest}".rstrip())
    count = list(verdicts.values()).count
    reporter.write_line(f"held {count('held')} of {len(EXPERIMENTS)}, {count('in part')} more in part")


if __name__ == "__main__":  # for .ci/faults: the tests that count and stand elsewhere
    print(
        *sorted({test for one in EXPERIMENTS.values() for test in one.tests if not test.startswith("tests/faults/")}),
        sep="\n",
    )
