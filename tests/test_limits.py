"""Every limit of the code is on docs/limits.md with its number, and a test reaches it."""

import ast
import importlib.util
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from make import settled, snapshot
from stage import Stage
from support import within

from exporter.cli.main import cli
from exporter.cli.serve import MAX_SHARDS
from exporter.host.child import kill
from exporter.kinds.process import MAX_PID_FILE, Process
from exporter.model import Group, Reason, Vitals
from exporter.render import metrics, page
from exporter.render.metrics import MAX_LABEL, OPEN_METRICS, TEXT
from exporter.server.answers import MAX_LOGGED_PATH
from exporter.server.negotiation import MAX_ACCEPT, choose_format

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("limits", ROOT / "docs" / "limits.py")
assert _spec is not None
assert _spec.loader is not None
limits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(limits)

HTTP_BODIES = "kinds/test_http_get_responses.py::test_a_body_is_read_as_far_as_by_the_kubelet"
HTTP_REDIRECTS = "kinds/test_http_get_redirects.py::test_a_redirect_is_followed_or_not_as_by_the_kubelet"
HERE = "test_limits.py"
REACHED = {  # the test that reaches each limit
    "addresses:BACKLOG": "server/test_sockets.py::test_the_kernel_holds_a_limited_number_of_connections",
    "ask:MAX_ANSWER": "test_ask.py::test_an_endless_answer_is_not_read_to_the_end",
    "ask:MAX_PASSWORD_FILE": "test_ask.py::test_a_password_that_cannot_be_read_is_an_error",
    "ask:MAX_TIMEOUT": "test_ask.py::test_an_invalid_timeout_is_an_error",
    "cli.serve:MAX_SHARDS": f"{HERE}::test_too_many_shards_are_refused",
    "config.checks:_MAX_INT32": "config/test_checks.py::test_a_bad_file_has_exactly_these_complaints",
    "config.data:MAX_DIGITS": "config/test_checks.py::test_a_bad_file_has_exactly_these_complaints",
    "config.document:MAX_BYTES": "config/test_document.py::test_a_large_file_is_not_read_to_its_end",
    "config.explain:MAX_EXPLANATION": "config/test_explain.py::test_a_long_message_of_a_plugin_is_cut",
    "config.files:MAX_FILES": "config/test_files.py::test_too_many_files_are_refused",
    "config.nodes:MAX_DEPTH": "config/test_nodes.py::test_endless_nesting_is_refused_with_little_cpu",
    "config.nodes:MAX_VALUES": "config/test_nodes.py::test_too_many_values_are_refused",
    "config.unknown_keys:MAX_COMPARED": "config/test_unknown_keys.py::test_only_the_beginning_of_a_key_is_compared",
    "config.web:MAX_COST": "config/test_web.py::test_an_invalid_file_has_exactly_these_complaints",
    "evaluation.answered:MAX_ANSWERED": (
        "evaluation/test_answered.py::test_the_number_of_entries_and_of_reasons_is_limited"
    ),
    "evaluation.answered:MAX_BECAUSE": (
        "evaluation/test_answered.py::test_the_number_of_entries_and_of_reasons_is_limited"
    ),
    "evaluation.answered:MAX_OPEN": (
        "evaluation/test_answered.py::test_the_number_of_entries_and_of_reasons_is_limited"
    ),
    "evaluation.failure:MAX_CHAIN": "evaluation/test_failure.py::test_a_traceback_has_a_limited_number_of_exceptions",
    "evaluation.history:MAX_MILESTONES": "evaluation/test_history.py::test_the_rings_are_bounded",
    "evaluation.history:MAX_SPANS": (
        "evaluation/test_history.py::test_a_check_that_flaps_keeps_a_limited_number_of_spans"
    ),
    "evaluation.history:MAX_TRANSITIONS": "evaluation/test_history.py::test_the_rings_are_bounded",
    "evaluation.hold:MAX_HOLD": "evaluation/test_hold.py::test_extensions_do_not_exceed_the_maximum",
    "evaluation.hold:MAX_WHY": "evaluation/test_hold.py::test_what_is_no_hold_is_refused",
    "evaluation.once:MAX_WAIT": "test_cli.py::test_the_longest_timeout_there_can_be_is_one",
    "evaluation.once:MAX_WORKERS": "evaluation/test_once.py::test_a_limited_number_of_checks_run_at_the_same_time",
    "evaluation.run:MAX_ATTEMPTS": "evaluation/test_run.py::test_an_unknown_attempt_is_repeated_up_to_three_attempts",
    "evaluation.run:MAX_RUN_TIME": "test_cli.py::test_the_longest_timeout_there_can_be_is_one",
    "evaluation.run:MAX_SUMMARY": "evaluation/test_run.py::test_a_summary_is_one_printable_line_of_bounded_length",
    "evaluation.schedule:HEADROOM": "evaluation/test_schedule.py::test_the_pool_fits_the_configuration",
    "evaluation.schedule:OVERDUE": (
        "evaluation/test_schedule.py::test_a_check_that_is_overdue_means_that_the_schedule_is_not_running"
    ),
    "host.child:MAX_REAP_WAIT": f"{HERE}::test_a_process_that_cannot_be_killed_is_not_waited_for",
    "host.descriptors:MAX_DESCRIPTORS": "host/test_descriptors.py::test_the_soft_limit_is_not_raised_beyond_a_maximum",
    "host.descriptors:RESERVE": "host/test_descriptors.py::test_the_soft_limit_is_raised_and_the_hard_one_stays",
    "host.file_sets:MAX_ATTEMPTS": (
        "host/test_file_sets.py::test_a_volume_that_is_replaced_while_it_is_read_is_read_again"
    ),
    "host.file_sets:MAX_ENTRIES": (
        "host/test_file_sets.py::test_a_folder_with_too_many_entries_is_not_listed_to_its_end"
    ),
    "host.folders:MAX_FILE": "host/test_cgroup.py::test_only_the_beginning_of_a_file_is_read",
    "host.greenlets:MAX_THREADS": (
        "embedded/test_process_models.py::test_calls_that_block_have_a_limited_number_of_threads_under_gevent"
    ),
    "host.path_calls:MAX_LINKS": "host/test_path.py::test_a_bad_path_has_its_reason",
    "host.path_processes:IDLE": "host/test_path_processes.py::test_an_idle_process_ends_unless_it_is_the_only_one",
    "host.path_processes:MAX_BLOCKED": (
        "host/test_path_processes.py::test_when_many_are_blocked_no_process_is_started_and_one_that_responds_goes_on"
    ),
    "host.path_processes:MAX_IDLE": "host/test_path_processes.py::test_a_few_idle_processes_are_kept",
    "host.path_threads:IDLE": "host/test_path_threads.py::test_a_thread_without_work_ends",
    "host.path_threads:MAX_THREADS": "host/test_path_threads.py::test_when_all_threads_are_stuck_calls_fail_at_once",
    "manifests.scrapes:_MAX_LABEL": "manifests/test_scrapes.py::test_a_label_does_not_grow_without_end",
    "manifests.tree:MAX_DEPTH": "manifests/test_workloads.py::test_hostile_manifests_are_refused",
    "manifests.tree:MAX_VALUES": "manifests/test_workloads.py::test_hostile_manifests_are_refused",
    "manifests.workloads:MAX_BYTES": "manifests/test_workloads.py::test_hostile_manifests_are_refused",
    "net.certificates:MAX_NAMES": "test_tls.py::test_what_go_refuses_is_refused_and_the_message_says_why",
    "host.proc:MAX_FILE": "host/test_proc.py::test_only_the_beginning_of_a_file_is_read",
    "host.processes:MAX_LISTED": "host/test_processes.py::test_a_limited_number_of_pids_and_names_is_listed",
    "host.processes:MAX_PSS_SCAN": "kinds/test_process.py::test_memory_that_processes_share_counts_once",
    "host.processes:MAX_SIMILAR": "host/test_processes.py::test_a_limited_number_of_pids_and_names_is_listed",
    "host.reader:MAX_KEPT": "host/test_reader.py::test_the_content_of_a_limited_number_of_files_is_kept",
    "host.reader:MAX_PEM": "host/test_reader.py::test_a_file_of_certificates_has_a_maximum_size",
    "host.reader:MAX_WAIT": "host/test_reader.py::test_a_read_that_belongs_to_no_check_has_a_time_limit",
    "host.resolv_conf:MAX_BYTES": "host/test_resolv_conf.py::test_only_the_beginning_of_the_file_is_read",
    "host.resolv_conf:MAX_SERVERS": "host/test_resolv_conf.py::test_the_servers_are_those_of_the_c_library",
    "keeper.log:MAX_FLUSH": "keeper/test_log.py::test_the_end_does_not_wait_for_a_reader_that_does_not_read",
    "keeper.log:MAX_LINES": "keeper/test_log.py::test_a_reader_that_does_not_read_delays_nothing",
    "keeper.run:GRACE": "faults/test_keeper.py::test_sigterm_ends_even_if_the_worker_hangs",
    "keeper.run:MAX_ABANDONED": "keeper/test_run.py::test_workers_that_do_not_end_are_few",
    "keeper.server:CLIENT_TIMEOUT": "keeper/test_server.py::test_a_client_that_sends_nothing_is_disconnected",
    "keeper.server:MAX_CONNECTIONS": "keeper/test_server.py::test_the_oldest_connection_is_closed_for_a_new_one",
    "keeper.server:MAX_HEAD": "keeper/test_server.py::test_a_head_that_is_too_long_is_refused",
    "keeper.worker:DEATH": "keeper/test_run.py::test_workers_that_do_not_end_are_few",
    "keeper.worker:MAX_BACK_OFF": "keeper/test_worker.py::test_the_back_off_grows_until_a_worker_is_steady",
    "keeper.worker:MAX_SILENCE": "keeper/test_worker.py::test_silence_is_counted_in_ticks",
    "keeper.worker:MAX_START": "keeper/test_worker.py::test_a_worker_that_loads_has_more_time",
    "kinds.exec:MAX_OUTPUT": "kinds/test_exec.py::test_stdout_then_stderr_are_cut_at_10240_bytes",
    "net.grpc_call:MAX_RESPONSE": "kinds/test_grpc.py::test_a_huge_response_is_refused",
    "kinds.http_get:MAX_EXPECTED_BODY": "kinds/test_http_get_options.py::test_the_content_of_the_body_decides",
    "kinds.postgresql:MAX_RESPONSE": "kinds/test_postgresql.py::test_a_flood_is_not_read_until_the_deadline",
    "kinds.process:MAX_PID_FILE": f"{HERE}::test_a_pid_beyond_the_first_bytes_is_not_found",
    "kinds.promql:MAX_QUERY_STRING": "kinds/test_promql.py::test_a_long_query_is_sent_in_a_body",
    "kinds.promql:MAX_RESPONSE": "kinds/test_promql.py::test_a_response_that_is_not_prometheus_api_fails",
    "kinds.websocket:MAX_RESPONSE": "kinds/test_websocket.py::test_frames_are_read_by_the_protocol_and_by_bytes",
    "kinds.tcp_socket:MAX_RESPONSE": "kinds/test_tcp_socket_expect.py::test_only_the_first_10_kib_are_read",
    "log:MAX_BACKLOG": "test_log.py::test_a_reader_that_has_stopped_reading_costs_lines_and_keeps_nobody_waiting",
    "log:MAX_FLUSH": "test_log.py::test_the_end_does_not_wait_for_a_reader_that_has_stopped_reading",
    "net.client:MAX_OVERHEAD": "net/test_client.py::test_a_flood_around_the_body_is_not_read_until_the_deadline",
    "net.datagrams:MAX_ADDRESSES": "kinds/test_dns_servers.py::test_the_addresses_of_a_server_are_limited",
    "net.datagrams:MAX_DATAGRAM": "kinds/test_dns_servers.py::test_a_datagram_beyond_the_maximum_is_ignored",
    "net.datagrams:ROUNDS": "kinds/test_dns_servers.py::test_a_silent_server_is_queried_three_times",
    "net.websocket:MAX_OVERHEAD": "kinds/test_websocket.py::test_frames_are_read_by_the_protocol_and_by_bytes",
    "net.websocket:CLOSE_SECONDS": ("kinds/test_websocket.py::test_a_server_that_does_not_close_does_not_fail"),
    "net.echo:MAX_ADDRESSES": "kinds/test_icmp.py::test_the_addresses_that_are_tried_are_limited",
    "net.echo:MAX_PAYLOAD": "kinds/test_icmp.py::test_a_host_that_replies_passes",
    "net.fetch:MAX_BODY": HTTP_BODIES,
    "net.fetch:MAX_DRAIN": HTTP_REDIRECTS,
    "net.fetch:MAX_REFUSALS": "kinds/test_http_get_http2.py::test_an_exchange_is_repeated_only_if_the_server_refused_it_or_its_body_broke_off",  # noqa: E501
    "net.fetch:MAX_REQUESTS": HTTP_REDIRECTS,
    "net.head:MAX_HEAD": "kinds/test_http_get_responses.py::test_a_head_is_accepted_or_refused_as_by_gos_client",
    "net.head:MAX_LINE": "net/test_response.py::test_a_location_is_whole_or_is_refused",
    "net.head:MAX_LINES": "net/test_response.py::test_a_head_has_a_maximum_number_of_lines",
    "net.race:FALLBACK_DELAY": (
        "net/test_race.py::test_the_other_family_is_tried_after_a_delay_while_the_first_is_silent"
    ),
    "net.race:MIN_SHARE": "net/test_race.py::test_a_share_is_not_too_short_to_connect",
    "net.http2:MAX_FRAME": "net/test_http2.py::test_a_frame_has_a_maximum_size",
    "net.http2:MAX_FRAMES": "net/test_http2.py::test_a_response_has_a_maximum_number_of_frames",
    "net.http2:MAX_HEADERS": "net/test_http2.py::test_header_frames_have_a_maximum_size",
    "net.http2:MAX_SETTINGS": "net/test_http2.py::test_settings_have_a_maximum_number",
    "net.relay:PORTION": "net/test_relay.py::test_a_flood_is_carried_in_portions_up_to_a_maximum",
    "net.resolver:IDLE_SECONDS": "net/test_resolver.py::test_a_thread_that_is_not_needed_ends_and_another_one_follows",
    "net.resolver:MAX_THREADS": "net/test_resolver.py::test_lookups_hold_a_bounded_number_of_threads",
    "net.resolver:MAX_ZONES": "net/test_resolver.py::test_lookups_hold_a_bounded_number_of_threads",
    "net.resolver:RESERVE": "net/test_resolver.py::test_lookups_hold_a_bounded_number_of_threads",
    "net.resolver:SHARED": "net/test_resolver.py::test_lookups_hold_a_bounded_number_of_threads",
    "net.response:MAX_CHUNKS": "net/test_response.py::test_a_body_has_a_maximum_number_of_chunks",
    "net.response:MAX_CHUNK_LINE": HTTP_BODIES,
    "net.response:MAX_EXCESS": HTTP_BODIES,
    "net.starttls:MAX_RESPONSE": "net/test_starttls.py::test_a_server_that_does_not_start_tls_fails",
    "probe.decoding:MAX_MEMBERS": "probe/test_body.py::test_a_file_has_a_maximum_number_of_members",
    "probe.driver:MAX_RESPONSE": "kinds/test_redis.py::test_a_server_that_breaks_the_protocol_fails",
    "probe.expect:MAX_SHOWN_VALUE": "probe/test_expect.py::test_a_long_value_is_shortened",
    "probe.jsonpath:MAX_VISITS": "probe/test_jsonpath.py::test_a_query_visits_a_limited_number_of_values",
    "probe.jsonvalue:MAX_DEPTH": "probe/test_jsonvalue.py::test_a_text_has_a_maximum_number_of_levels",
    "probe.jsonvalue:MAX_VALUES": "probe/test_jsonvalue.py::test_a_text_has_a_maximum_number_of_values",
    "probe.secret:MAX_SECRET": "probe/test_secret.py::test_without_its_secret_a_check_cannot_run",
    "redaction:MAX_REDACTED": "test_redaction.py::test_a_long_text_is_cut",
    "redaction:MAX_QUOTED": "probe/test_body.py::test_a_message_shows_the_beginning_the_length_and_the_media_type",
    "render.events:MAX_EVENTS": "server/test_past.py::test_the_number_of_events_is_limited_to_the_latest",
    "server.history_file:MAX_BACKLOG": "server/test_history_file.py::test_a_disk_that_hangs_delays_nobody",
    "server.history_file:MAX_FLUSH": "server/test_history_file.py::test_a_disk_that_hangs_delays_nobody",
    "server.history_file:MAX_PAUSE": (
        "server/test_history_file.py::test_a_folder_that_is_missing_is_logged_once_and_tried_again"
    ),
    "server.history_file:MAX_RESTORED": "server/test_history_file.py::test_only_the_end_of_the_past_is_read",
    "replay.phases:MAX_PHASES": "replay/test_kubelet.py::test_many_changes_are_replayed_in_ranges_of_phases",
    "replay.prometheus:MAX_RESPONSE": "replay/test_prometheus.py::test_a_server_that_does_not_respond_well_is_an_error",
    "replay.prometheus:TIMEOUT": "replay/test_prometheus.py::test_a_server_that_does_not_respond_well_is_an_error",
    "replay.variant:MAX_VARIANTS": "replay/test_variant.py::test_too_many_variants_are_refused",
    "render.story.story:MAX_INCIDENTS": "render/story/test_story.py::test_earlier_incidents_are_counted",
    "render.story.paragraphs:MAX_EPISODES": "render/story/test_story.py::test_many_checks_share_sentences",
    "render.story.prose:MAX_NAMES": "render/story/test_story.py::test_a_sentence_has_some_names_and_counts_the_others",
    "server.recorded:MAX_SPANS": "server/test_recorded.py::test_a_limited_number_of_entries_is_kept",
    "server.recorded:MAX_TRANSITIONS": "server/test_recorded.py::test_a_limited_number_of_entries_is_kept",
    "render.health:MAX_LISTED": "render/test_health.py::test_a_404_names_the_checks_that_exist",
    "render.metrics:MAX_LABEL": f"{HERE}::test_a_long_label_is_cut",
    "render.check_page:CELLS": "render/test_check_page.py::test_the_strip_shows_the_latest_runs",
    "render.filters:MAX_QUERY": "render/test_filters.py::test_a_long_query_is_cut",
    "render.page:MAX_CHANGES": "render/test_page.py::test_the_latest_changes_come_with_their_times",
    "render.page:MAX_OPEN": "render/test_page.py::test_the_details_of_the_first_problems_are_open",
    "render.page:MAX_UNFOLDED": "render/test_page.py::test_many_passing_checks_are_folded",
    "render.strip:CELLS": "render/test_strip.py::test_the_latest_runs_fill_the_strip",
    "render.page:MAX_NAMES": f"{HERE}::test_the_page_names_some_failing_checks_and_counts_the_others",
    "render.nagios:MAX_PROBLEMS": "render/test_formats.py::test_a_plugin_describes_a_limited_number_of_problems",
    "render.nagios:MAX_PROBLEM": "render/test_formats.py::test_a_plugin_describes_a_problem_in_limited_length",
    "self_connection:MAX_SELF_CONNECTIONS": (
        "faults/test_network.py::test_a_connection_to_itself_is_refused_and_does_not_occupy_the_port"
    ),
    "probe.passive:MIN_TOKEN": "kinds/test_heartbeat.py::test_a_short_token_is_refused",
    "server.answers:MAX_LOGGED_PATH": f"{HERE}::test_a_long_path_is_cut_in_the_log",
    "server.answers:MAX_LOGGED_ANSWERS": (
        "server/test_answers.py::test_answers_cause_a_limited_number_of_lines_per_second"
    ),
    "server.answers:MAX_REMEMBERED_LINES": "server/test_answers.py::test_a_limited_number_of_lines_is_remembered",
    "server.answers:MAX_LOGGED_REASONS": (
        "server/test_answers.py::test_a_verdict_names_some_failing_checks_and_counts_the_others"
    ),
    "server.listener:SHARE": "faults/test_clients.py::test_more_clients_than_the_process_may_have_files_is_survived",
    "server.listener:MAX_SENDING": "faults/test_clients.py::test_slow_readers_of_different_bodies_do_not_fill_the_memory",  # noqa: E501
    "keeper.shared:MAX_CONFIGURATION": "keeper/test_shared.py::test_a_configuration_that_is_too_large_is_not_kept",
    "server.attempts:MAX_REQUESTS": (
        "server/test_attempts.py::test_requests_with_the_same_credentials_share_one_attempt"
    ),
    "server.attempts:MAX_SUSPECTS": (
        "server/test_attempts.py::test_a_limited_number_of_guessing_addresses_are_remembered"
    ),
    "server.attempts:MAX_WAITING": "server/test_attempts.py::test_a_limited_number_of_attempts_wait",
    "server.connection:CLIENT_TIMEOUT": "faults/test_clients.py::test_nobody_is_held_forever",
    "server.connection:MAX_HEAD": "server/test_connection.py::test_a_head_has_a_maximum_size",
    "server.connection:MAX_LINES": "server/test_connection.py::test_a_head_has_a_maximum_number_of_lines",
    "server.connection:MAX_PARTS": (
        "server/test_connection.py::test_a_client_that_takes_everything_gets_a_limited_number_of_parts_at_a_time"
    ),
    "server.connection:PART": "server/test_connection.py::test_a_client_has_the_whole_time_again_for_each_part",
    "server.credentials:MAX_HEADER": "server/test_credentials.py::test_the_longest_header_is_parsed",
    "server.recent:MAX_AGE": "server/test_dispatch.py::test_an_expensive_page_is_kept_although_checks_have_run",
    "server.recent:SHARE": "server/test_dispatch.py::test_an_expensive_page_is_kept_although_checks_have_run",
    "server.recent:MAX_RECENT": "server/test_dispatch.py::test_a_limited_number_of_rendered_responses_is_kept",
    "server.dispatch:MAX_WAITING": "faults/test_clients.py::test_probes_wait_for_no_thread",
    "server.dispatch:THREADS": "faults/test_clients.py::test_probes_wait_for_no_thread",
    "server.listener:GRACE": "server/test_listener.py::test_a_client_that_does_not_read_cannot_keep_the_server_running",
    "server.listener:MAX_CONNECTIONS": "faults/test_clients.py::test_at_the_limit_the_oldest_connection_makes_room",
    "server.negotiation:MAX_ACCEPT": f"{HERE}::test_a_long_accept_header_expresses_no_preference",
    "server.passwords:MAX_PASSWORD": "server/test_users.py::test_a_user_is_let_in_by_the_password_alone",
    "server.probes:MAX_CACHED": "server/test_probes.py::test_a_limited_number_of_answers_is_kept_for_a_generation",
    "server.probes:MAX_QUERY": "server/test_probes.py::test_a_query_has_a_maximum_length",
    "server.reload:MAX_ERRORS": (
        "server/test_reload.py::test_the_log_shows_the_first_errors_of_a_file_and_how_many_more_there_are"
    ),
    "server.reload:MAX_PAUSE": (
        "server/test_reload.py::test_a_load_that_lacked_a_resource_is_repeated_until_it_succeeds"
    ),
    "server.reload:MAX_WAIT": (
        "server/test_reload.py::test_a_request_that_takes_too_long_ends_and_keeps_others_out_until_it_is_over"
    ),
    "server.run:SWITCH_INTERVAL": (
        "server/test_run.py::test_other_threads_keep_the_event_loop_waiting_for_a_limited_time"
    ),
    "server.users:MAX_WRONG": (
        "server/test_users.py::test_the_memory_of_wrong_credentials_is_bounded_and_displaces_no_right_ones"
    ),
}
NO_LIMITS = {  # other numbers: exit codes, the pace of repeated work, defaults, and numbers of other systems
    "addresses": {"_MAX_PORT"},
    "ask": {"PAUSE", "TIMEOUT"},
    "cli.kinds": {"MAX_WIDTH"},
    "cli.screen": {"DELAY", "MIN_WIDTH"},
    "cli.watch": {"PAUSE"},
    "config.advice": {"IMPLAUSIBLE_RATIO"},
    "config.unknown_keys": {"MIN_SIMILARITY"},
    "evaluation.once": {"MARGIN", "TICK"},
    "cli.connection": {"PATIENCE"},
    "evaluation.schedule": {"LAG_WINDOW", "STUCK_AFTER", "TAKEOVER"},
    "evaluation.states": {"CHUNK"},
    "evaluation.timetable": {"GRID", "SPREAD"},
    "exitcodes": {"COULD_NOT_ASK", "HEALTHY", "INTERRUPTED", "UNHEALTHY", "USAGE"},
    "evaluation.entries": {"SCHEMA", "_MAX_COUNT", "_MAX_TIME"},
    "server.answers": {"LOG_INTERVAL"},
    "replay.phases": {"JITTER"},
    "replay.recording": {"MAX_JUMP"},
    "evaluation.history": {"_MAX_COUNT"},
    "host.cgroup": {"UNLIMITED"},
    "host.child": {"UNKNOWN_STATUS"},
    "host.descriptors": {"BASE", "PER_RUN"},
    "host.processes": {"MAX_NAME"},
    "keeper.allocator": {"ARENAS", "DIRECT_SIZE"},
    "keeper.answers": {"LIVENESS"},
    "keeper.link": {"BEAT"},
    "keeper.run": {"STEADY"},
    "keeper.service": {"_MAX_DIGITS"},
    "keeper.worker": {"SILENT", "TICK", "UNAVAILABLE"},
    "kinds.amqp": {"_MAX_NAME"},
    "kinds.certificate": {"DAY"},
    "kinds.cpu": {"MIN_ELAPSED"},
    "kinds.exec": {"FIRST_WAIT", "POLL_INTERVAL"},
    "kinds.grpc": {"BACKOFF"},
    "manifests.scrapes": {"_MAX_DIGITS"},
    "manifests.sidecar": {"PORT", "_MAX_NAME"},
    "manifests.timing": {"_MAX_PERIOD"},
    "model": {"SLACK"},
    "net.head": {"_MAX_CONTENT_LENGTH"},
    "render.story.episodes": {"MAX_CALM", "MIN_FLAPS"},
    "render.story.incidents": {"REACH", "SLACK"},
    "render.story.story": {"MAX_WIDTH"},
    "redaction": {"MIN_PIECE"},
    "render.card": {"MEMORABLE"},
    "render.shell": {"REFRESH"},
    "replay.prometheus": {"CHUNK"},
    "server.history_file": {"UPDATE"},
    "server.pages": {"LEVEL"},
    "server.poller": {"INTERVAL"},
    "server.recent": {"CHEAP"},
    "server.routes": {"RETRY_AFTER"},
    "server.segments": {"SEGMENTS"},
    "server.run": {"TICK"},
}


BOUNDS_REACHED = {
    "Runs of a check at the same time": (
        "evaluation/test_timetable.py::test_a_run_longer_than_the_period_is_followed_immediately_by_the_next"
    ),
    "Processes of a `disk` or `file` check": (
        "host/test_path.py::test_a_system_call_that_does_not_return_is_abandoned_at_the_deadline"
    ),
    "Open files and connections": (
        "faults/test_clients.py::test_more_clients_than_the_process_may_have_files_is_survived"
    ),
    "Series of `/metrics`": "render/test_metrics.py::test_the_series_are_exactly_those_of_the_configuration",
    "Files of the history": (
        "server/test_history_file.py::test_the_size_is_limited_and_the_latest_three_quarters_remain"
    ),
    "Values of the label `reason`": f"{HERE}::test_the_number_of_reasons_is_on_the_page",
}


def list_limits() -> dict[str, float]:
    return {limit.constant: limit.value for section in limits.SECTIONS.values() for limit in section}


def list_constants() -> set[str]:
    """Every number at the top of a module, as `module:NAME`, and every `MAX_...`. Other private names are left out."""
    return {
        f"{'.'.join(path.relative_to(ROOT / 'exporter').with_suffix('').parts)}:{target.id}"
        for path in (ROOT / "exporter").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
        if target.id.lstrip("_").startswith("MAX_") or (is_number(node.value) and not target.id.startswith("_"))
    }


def is_number(node: ast.expr) -> bool:
    """Whether an expression is a number, or computed from numbers alone."""
    match node:
        case ast.BinOp():
            return is_number(node.left) and is_number(node.right)
        case ast.Constant():
            return type(node.value) in (int, float)
    return False


# The page


def test_the_page_is_in_step_with_the_code():
    assert (ROOT / "docs" / "limits.md").read_text() == limits.describe(), "run `make docs`"


def test_every_limit_of_the_code_is_on_the_page():
    others = {f"{module}:{name}" for module, names in NO_LIMITS.items() for name in names}

    assert list_constants() - others == list_limits().keys(), "add a line to docs/limits.py, or a name to NO_LIMITS"
    assert others < list_constants()


def test_a_test_reaches_every_limit():
    assert REACHED.keys() == list_limits().keys()
    assert BOUNDS_REACHED.keys() == {bound.subject for bound in limits.BOUNDS}
    places = {*REACHED.values(), *BOUNDS_REACHED.values()}
    tests = {
        f"{name}::{node.name}"
        for name in {place.partition("::")[0] for place in places}
        for node in ast.parse((ROOT / "tests" / name).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert sorted(places - tests) == []


def test_the_number_of_reasons_is_on_the_page():
    assert {bound.number for bound in limits.BOUNDS if "`reason`" in bound.subject} == {str(len(Reason))}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (64, "bytes", "64 bytes"),
        (10 * 1024, "bytes", "10 KiB"),
        (10 * 2**20, "bytes", "10 MiB"),
        (0.1, "s", "0.1 s"),
        (200_000, "", "200,000"),
        (2**31 - 1, "", "2,147,483,647"),
    ],
)
def test_a_number_is_exact_and_has_its_unit(value, unit, text):
    assert limits.format_number(value, unit) == text


# Limits that no other test reaches


def test_too_many_shards_are_refused():
    result = CliRunner().invoke(cli, ["serve", "--shard", "0", "--shards", str(MAX_SHARDS + 1)])

    assert result.exit_code == 2
    assert f"{MAX_SHARDS + 1} is not in the range 1<=x<={MAX_SHARDS}" in result.output


def test_a_process_that_cannot_be_killed_is_not_waited_for():
    """As on a dead mount: SIGKILL changes nothing."""

    class Blocked(subprocess.Popen):
        def kill(self) -> None:
            pass

    with Blocked(["sleep", "600"]) as child:
        kill(child)
        alive = child.poll() is None
        subprocess.Popen.kill(child)

    assert alive


@pytest.mark.parametrize(("size", "found"), [(MAX_PID_FILE, True), (MAX_PID_FILE + 1, False)])
def test_a_pid_beyond_the_first_bytes_is_not_found(tmp_path, size, found):
    """Without its last digit, it may be that of another process."""
    path = tmp_path / "pid"
    with subprocess.Popen(["sleep", "600"]) as child:
        path.write_text(str(child.pid).rjust(size))
        outcome = Process(pid_file=str(path)).probe(within(20))
        child.kill()

    assert (f"(pid {child.pid})" in outcome.summary) is found, outcome.summary


def test_a_long_label_is_cut():
    state = settled("P", name="a" * (MAX_LABEL + 1))
    exposition = metrics.render(snapshot([state]), Vitals(running=True), {}, content_type=TEXT).decode()

    assert f'check="{"a" * MAX_LABEL}"' in exposition
    assert "a" * (MAX_LABEL + 1) not in exposition


def test_the_page_names_some_failing_checks_and_counts_the_others():
    states = [settled("F", name=f"check-{number}", failure_threshold=1) for number in range(page.MAX_NAMES + 2)]
    html = page.render(snapshot(states), {"/healthz": Group.ALL}, 1_001_000.0)
    verdict = html.partition("/healthz")[2].partition("</li>")[0]

    assert f"check-{page.MAX_NAMES - 1}" in verdict
    assert f"check-{page.MAX_NAMES}" not in verdict
    assert "2 more" in verdict


@pytest.mark.parametrize(("length", "chosen"), [(MAX_ACCEPT, OPEN_METRICS), (MAX_ACCEPT + 1, TEXT)])
def test_a_long_accept_header_expresses_no_preference(length, chosen):
    assert choose_format("application/openmetrics-text".ljust(length)) == chosen


def test_a_long_path_is_cut_in_the_log(caplog):
    flask = Stage().app().__self__
    with caplog.at_level("INFO"):
        flask.test_client().get("/" + "a" * MAX_LOGGED_PATH)

    (record,) = [record for record in caplog.records if record.getMessage().startswith("answered 404: ")]
    assert record.fields["path"] == "/" + "a" * (MAX_LOGGED_PATH - 1)
