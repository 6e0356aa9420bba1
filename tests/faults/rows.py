"""The faults that the exporter has to survive, and the tests that inject them.

A test is named by its file under tests/ and its function. Tests under e2e/cluster need a cluster: `make e2e` runs
them, and `make faults` all others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, init=False)
class Row:
    """A fault, and the tests that inject it. Without tests, `reason` says why there are none."""

    slug: str
    fault: str
    tests: tuple[str, ...]
    reason: str

    def __init__(self, slug: str, fault: str, *tests: str, reason: str = "") -> None:
        for name, value in (("slug", slug), ("fault", fault), ("tests", tests), ("reason", reason)):
            object.__setattr__(self, name, value)


HTTP = "kinds/test_http_get.py::test_"
OPTIONS = "kinds/test_http_get_options.py::test_"
REDIRECTS = "kinds/test_http_get_redirects.py::test_"
RESPONSES = "kinds/test_http_get_responses.py::test_"
TLS = "kinds/test_http_get_tls.py::test_"
CERTIFICATE = "kinds/test_certificate.py::test_"
STARTTLS = "net/test_starttls.py::test_"
ICMP = "kinds/test_icmp.py::test_"
WEBSOCKET = "kinds/test_websocket.py::test_"
GRPC = "kinds/test_grpc.py::test_"
EXEC = "kinds/test_exec.py::test_"
DIAL = "net/test_dial.py::test_"
RACE = "net/test_race.py::test_"
RESOLVER = "net/test_resolver.py::test_"
NAMES = "faults/test_names.py::test_"
NETWORK = "faults/test_network.py::test_"
CONTAINER = "host/test_container.py::test_"
MOUNTS = "faults/test_mounts.py::test_"
CGROUPS = "faults/test_cgroups.py::test_"
CLOCKS = "faults/test_clocks.py::test_"
PROC = "faults/test_proc.py::test_"
PROCESSES = "kinds/test_process.py::test_"
CPU = "kinds/test_cpu.py::test_"
DISK = "kinds/test_disk.py::test_"
CODE = "faults/test_code.py::test_"
TARGETS = "faults/test_targets.py::test_"
LIFETIME = "faults/test_lifetime.py::test_"
STORMS = "faults/test_storms.py::test_"
SECRETS = "faults/test_secrets.py::test_"
FILES = "faults/test_files.py::test_"
KEEPER = "faults/test_keeper.py::test_"
DEGRADED = "faults/test_degraded.py::test_"
CLIENTS = "faults/test_clients.py::test_"
PROCESS = "server/test_process.py::test_"
ROUTES = "server/test_routes.py::test_"
LISTENER = "server/test_listener.py::test_"
RENDERED = "render/test_metrics.py::test_"
RULES = "alerts/test_rules.py::test_"
CLUSTER = "e2e/cluster/"

TARGETS_THAT_MISBEHAVE = (
    Row(
        "connection-refused",
        "Nothing listens on the target's port.",
        DIAL + "a_refused_connection_fails_and_names_the_endpoint",
        HTTP + "the_summary_of_a_refused_connection_names_the_address",
    ),
    Row(
        "packets-dropped",
        "A firewall drops every packet to the target.",
        NETWORK + "a_firewall_that_drops_packets_costs_a_timeout_and_nothing_else",
        DIAL + "a_connection_that_is_not_completed_fails_at_the_deadline",
    ),
    Row(
        "silent-target",
        "The target takes the connection and sends nothing.",
        RESPONSES + "a_listener_that_never_accepts_fails_at_the_deadline",
    ),
    Row(
        "dripping-headers",
        "The target sends its headers one byte at a time.",
        RESPONSES + "the_deadline_holds_against_a_server_that_drips",
    ),
    Row(
        "dripping-body",
        "The target sends its body one byte at a time.",
        RESPONSES + "the_deadline_holds_against_a_server_that_drips",
    ),
    Row(
        "endless-interim-responses",
        "The target sends interim responses forever, slowly or as fast as it can.",
        RESPONSES + "the_deadline_holds_against_a_server_that_drips",
        RESPONSES + "a_flood_ends_at_the_deadline_and_costs_little_memory",
    ),
    Row(
        "endless-body",
        "The body of a response never ends.",
        RESPONSES + "a_flood_ends_at_the_deadline_and_costs_little_memory",
        OPTIONS + "an_endless_body_costs_little_memory",
    ),
    Row(
        "decompression-bomb",
        "A small compressed body becomes a huge one.",
        RESPONSES + "a_gzip_bomb_is_never_decoded",
        "probe/test_body.py::test_a_bomb_is_decoded_up_to_the_maximum",
    ),
    Row(
        "header-flood",
        "The target sends headers without end, or one endless header.",
        RESPONSES + "a_flood_ends_at_the_deadline_and_costs_little_memory",
    ),
    Row(
        "redirect-loop",
        "Redirects lead in a circle, or through more hosts than the kubelet follows.",
        REDIRECTS + "a_redirect_is_followed_or_not_as_by_the_kubelet",
    ),
    Row(
        "redirect-to-another-host",
        "A redirect leads to another host, which would receive the configured headers.",
        REDIRECTS + "a_redirect_to_a_different_host_passes_and_the_summary_names_the_host",
    ),
    Row(
        "redirect-to-forbidden-place",
        "A redirect leads to a file, to another protocol, or to the metadata service of a cloud.",
        NETWORK + "a_redirect_leads_to_no_other_host_and_to_no_file",
        REDIRECTS + "a_redirect_is_followed_or_not_as_by_the_kubelet",
    ),
    Row(
        "reset-in-the-body",
        "The target resets the connection within the body.",
        RESPONSES + "a_body_that_breaks_off_is_requested_three_times_within_one_deadline",
    ),
    Row(
        "garbage-response",
        "The response is not HTTP, or its framing contradicts itself.",
        RESPONSES + "a_head_is_accepted_or_refused_as_by_gos_client",
        "net/test_response.py::test_any_bytes_are_a_response_or_malformed",
    ),
    Row(
        "bad-certificate",
        "The certificate has expired, is not valid yet, has another name or an unknown authority.",
        CERTIFICATE + "the_days_left_decide",
        CERTIFICATE + "a_certificate_that_is_not_valid_yet_fails",
        CERTIFICATE + "a_certificate_that_does_not_verify_fails",
        TLS + "no_certificate_is_verified",
    ),
    Row(
        "endless-handshake",
        "A TLS handshake never completes.",
        TLS + "a_tls_handshake_that_never_ends_fails_at_the_deadline",
        DIAL + "a_handshake_that_never_ends_fails_at_the_deadline",
    ),
    Row(
        "silent-name-server",
        "The name server never responds.",
        NAMES + "a_dead_zone_fails_only_its_own_checks",
        RESOLVER + "a_lookup_that_never_returns_fails_at_the_deadline",
        "kinds/test_dns.py::test_a_silent_server_fails_at_the_deadline",
    ),
    Row(
        "dead-zone",
        "The name server of many names is silent, and other names work.",
        NAMES + "a_dead_zone_fails_only_its_own_checks",
        RESOLVER + "no_number_of_dead_names_holds_up_a_name_of_another_zone",
    ),
    Row(
        "name-errors",
        "A name does not exist, its server fails, has no address for it, or sends aliases in a circle.",
        NAMES + "errors_of_a_name_server_fail_the_check_at_once",
        "kinds/test_dns.py::test_an_error_or_a_missing_record_fails",
    ),
    Row(
        "dead-first-address",
        "The first address of a name is dead, and the second one works.",
        NAMES + "a_name_with_a_dead_address_passes_if_another_one_responds",
        RACE + "the_other_family_is_tried_after_a_delay_while_the_first_is_silent",
        RACE + "a_silent_address_leaves_the_next_one_its_share_of_the_time",
    ),
    Row(
        "name-that-moves",
        "A name gets another address between two runs.",
        NAMES + "every_run_connects_to_the_address_that_the_name_has_now",
        RESOLVER + "a_name_is_looked_up_again_for_each_connection",
    ),
    Row(
        "variables-of-clients",
        "Variables and files of the environment ask for a proxy, credentials or other authorities.",
        HTTP + "no_proxy_and_no_netrc_of_the_environment_is_used",
        HTTP + "the_environments_ca_bundle_is_not_used",
        "net/test_client.py::test_nothing_of_the_environment_is_used",
    ),
    Row(
        "flapping-target",
        "The target fails in every second run.",
        TARGETS + "a_target_that_flaps_is_counted_exactly_and_changes_nothing",
    ),
    Row(
        "no-free-port",
        "All local ports are in use.",
        NETWORK + "without_a_free_port_a_check_fails_and_recovers",
    ),
    Row(
        "network-gone",
        "The network goes away, and every check fails at once.",
        NETWORK + "the_network_goes_away_and_comes_back",
    ),
    Row(
        "a-hundred-hang",
        "A hundred of five hundred targets hang.",
        TARGETS + "a_hundred_targets_that_hang_delay_no_other_check",
    ),
    Row(
        "catastrophic-expression",
        "A regular expression meets a text on which others take exponential time.",
        "probe/test_expect.py::test_a_regular_expression_takes_linear_time",
    ),
    Row(
        "costly-json",
        "A search in a JSON response takes more time than the check has, or the response is nested too deeply.",
        "probe/test_expect.py::test_the_deadline_ends_the_search_for_values",
        "probe/test_expect.py::test_values_that_are_nested_too_deeply_to_compare_are_a_fault",
    ),
    Row(
        "hostile-grpc",
        "A gRPC server lacks the service, is not serving, hangs, speaks something else, or sends a huge message.",
        GRPC + "only_serving_passes",
        GRPC + "a_server_without_the_health_service_fails",
        GRPC + "a_server_that_does_not_speak_grpc_fails",
        GRPC + "a_call_that_hangs_fails_at_the_deadline",
        GRPC + "a_huge_response_is_refused",
        "kinds/test_grpc_tls.py::test_a_response_is_read_as_by_grpc",
        "kinds/test_grpc_tls.py::test_a_huge_response_is_refused",
    ),
    Row(
        "hostile-websocket",
        "A WebSocket server refuses the upgrade, breaks the protocol, or sends frames slowly, without end or too long.",
        WEBSOCKET + "a_response_other_than_101_fails",
        WEBSOCKET + "frames_are_read_by_the_protocol_and_by_bytes",
        WEBSOCKET + "the_deadline_bounds_everything",
        WEBSOCKET + "a_server_that_does_not_close_does_not_fail",
    ),
    Row(
        "foreign-icmp",
        "An echo reply or an ICMP error belongs to another process or run, or comes from another host.",
        ICMP + "a_reply_that_is_not_the_own_is_ignored",
        ICMP + "an_icmp_error_for_another_process_is_ignored",
        ICMP + "checks_of_one_host_at_the_same_time_do_not_take_replies_of_each_other",
    ),
    Row(
        "no-permission-for-icmp",
        "The process may open neither a ping socket nor a raw one.",
        ICMP + "without_a_permission_the_check_is_unknown",
    ),
    Row(
        "hostile-starttls",
        "A server refuses to start TLS, sends text without end, or text in front of the encrypted conversation.",
        STARTTLS + "a_server_that_does_not_start_tls_fails",
        STARTTLS + "a_silent_server_fails_at_the_deadline",
    ),
)

LOCAL_CHECKS = (
    Row(
        "own-processes",
        "A process check looks for what is also on the command line of a check's command, or of another exporter.",
        PROCESSES + "a_command_of_a_check_does_not_count",
        PROCESSES + "what_a_command_of_a_check_has_left_behind_does_not_count_but_a_daemon_does",
        PROCESSES + "neither_of_two_exporters_counts_the_processes_of_their_checks",
    ),
    Row(
        "stopped-process",
        "A process is stopped, or its main thread has ended.",
        PROCESSES + "a_process_that_a_signal_has_stopped_does_not_run",
        PROCESSES + "a_process_that_a_debugger_has_stopped_counts_and_warns",
        PROCESSES + "a_process_whose_main_thread_has_ended_runs_while_another_thread_does",
    ),
    Row(
        "no-numbers",
        "The kernel does not count, counts backwards, or hides its numbers.",
        CPU + "a_kernel_that_counts_no_cpu_time_is_no_evidence",
        CPU + "a_field_that_decreases_does_not_make_the_others_count_more",
        DISK + "a_filesystem_that_reports_no_size_is_not_measured",
        PROC + "a_file_that_proc_hides_makes_a_check_unknown_and_the_cause_is_named",
    ),
    Row(
        "volume-not-mounted",
        "A volume is not mounted, so that its folder is on another filesystem.",
        DISK + "a_volume_that_is_not_mounted_fails_and_the_filesystem_is_named",
    ),
    Row(
        "outer-cgroup-full",
        "A cgroup around the container reaches its limit before the container does.",
        CGROUPS + "a_full_cgroup_around_the_container_fails_though_the_container_is_far_from_its_limit",
        CPU + "the_quota_that_is_nearest_to_being_used_up_decides",
    ),
    Row(
        "command-that-ignores-sigterm",
        "A command never ends and ignores SIGTERM.",
        EXEC + "a_command_that_does_not_end_fails_at_the_deadline_and_its_group_is_killed",
    ),
    Row(
        "command-that-escapes",
        "A child of a command leaves the process group and keeps the output open.",
        EXEC + "a_child_outside_the_group_does_not_block_the_worker_beyond_the_deadline",
        EXEC + "a_child_that_keeps_the_output_open_does_not_block_the_worker",
    ),
    Row(
        "endless-output",
        "A command prints 200 MB.",
        EXEC + "200_megabytes_of_output_cost_no_memory",
    ),
    Row(
        "orphans-as-pid-1",
        "The exporter is PID 1, and commands leave processes behind.",
        "faults/test_pid1.py::test_what_exec_checks_leave_behind_is_buried_and_no_exit_status_goes_lost",
    ),
    Row(
        "fork-bomb",
        "A command starts processes until the limit of the cgroup is reached.",
        CGROUPS + "a_fork_bomb_fails_its_own_check_and_no_probe",
    ),
    Row(
        "command-that-cannot-start",
        "A command is missing, is not executable, or has an interpreter that is missing.",
        EXEC + "a_command_that_cannot_be_started_is_not_a_failure",
    ),
    Row(
        "fork-among-threads",
        "Commands start while other threads log and connect.",
        CODE + "commands_start_while_other_threads_log_and_connect",
    ),
    Row(
        "environment-of-commands",
        "The environment of the exporter contains secrets, and commands could read them.",
        SECRETS + "a_command_gets_no_variable_that_a_secret_of_any_check_is_read_from",
        SECRETS + "a_shard_withholds_secrets_of_checks_that_another_shard_runs",
    ),
    Row(
        "hung-mount",
        "A filesystem stops responding.",
        MOUNTS + "a_hung_mount_costs_one_child_and_keeps_nobody_waiting",
        MOUNTS + "a_hung_mount_that_responds_again_is_checked_again",
        "host/test_path.py::test_a_system_call_that_does_not_return_is_abandoned_at_the_deadline",
        "host/test_path.py::test_a_query_that_is_blocked_does_not_block_others",
    ),
    Row(
        "full-disk",
        "A filesystem has no space or no inodes left, or becomes read-only. It is the exporter's own, too.",
        MOUNTS + "a_disk_that_is_full_or_read_only_fails_its_checks_and_not_the_exporter",
        LIFETIME + "a_full_disk_under_standard_output_stops_nothing",
    ),
    Row(
        "mount-that-vanishes",
        "A filesystem is unmounted and mounted again between two runs.",
        MOUNTS + "a_mount_that_vanishes_is_missing_and_leaves_no_numbers_behind",
    ),
    Row(
        "container-that-ends",
        "The container that a check looks into ends during the run, or its PID is reused.",
        CONTAINER + "a_container_that_ends_during_the_run_is_unknown",
        CONTAINER + "a_pid_that_is_reused_during_the_run_does_not_lead_to_the_new_process",
        CONTAINER + "a_dead_mount_in_the_container_fails_at_the_deadline",
        CONTAINER + "a_dead_mount_in_a_container_that_was_replaced_is_not_evidence_against_the_new_one",
    ),
    Row(
        "hostile-container",
        "The container that a check looks into has symbolic links that lead out of it.",
        CONTAINER + "a_link_never_leads_out_of_the_container",
        CONTAINER + "processes_in_different_containers_are_ambiguous",
        "host/test_container_cgroup.py::test_a_folder_that_is_not_the_mount_of_cgroups_is_not_read",
    ),
    Row(
        "strange-proc",
        "/proc hides the processes of others, and processes end while it is read.",
        MOUNTS + "processes_that_proc_hides_make_the_result_unknown",
        MOUNTS + "processes_that_come_and_go_are_not_an_error",
    ),
    Row(
        "strange-load-average",
        "The load average is huge, or the kernel does not report one.",
        MOUNTS + "a_load_average_that_is_huge_or_absent_is_shown_or_unknown",
    ),
)

OWN_RESOURCES = (
    Row(
        "throttled",
        "The exporter gets 5 % of one CPU.",
        CGROUPS + "without_cpu_time_checks_are_late_and_liveness_never_fails",
    ),
    Row(
        "little-memory",
        "500 checks run in 64 MiB.",
        CGROUPS + "500_checks_fit_into_64_mib",
    ),
    Row(
        "few-descriptors",
        "Clients or checks use all descriptors that the process may have.",
        "faults/test_descriptors.py::test_probes_are_answered_while_checks_hold_all_other_descriptors",
        CLIENTS + "more_clients_than_the_process_may_have_files_is_survived",
        DIAL + "without_a_free_file_descriptor_the_probe_itself_fails",
        ICMP + "without_a_descriptor_the_check_is_unknown",
    ),
    Row(
        "no-more-threads",
        "The system refuses to start a thread.",
        "faults/test_threads.py::test_a_request_for_a_reload_without_enough_threads_gets_the_reason",
        "host/test_path_threads.py::test_without_a_thread_a_call_fails_and_a_later_one_works",
        CGROUPS + "a_fork_bomb_fails_its_own_check_and_no_probe",
    ),
    Row(
        "stuck-workers",
        "Checks that never return occupy every worker.",
        CODE + "if_every_worker_is_stuck_the_application_stays_alive_and_the_exporter_reports_itself",
    ),
    Row(
        "check-that-raises",
        "The code of a check raises an exception that ends threads or interpreters elsewhere.",
        CODE + "whatever_a_check_raises_its_result_is_unknown_and_the_next_run_takes_place",
    ),
    Row(
        "stalled-schedule",
        "Checks are due, and nothing runs them.",
        CODE + "if_every_worker_is_stuck_the_application_stays_alive_and_the_exporter_reports_itself",
        "evaluation/test_schedule.py::test_a_check_that_is_overdue_means_that_the_schedule_is_not_running",
    ),
    Row(
        "crashes",
        "The process that runs the checks is killed, stopped or crashes, again and again.",
        KEEPER + "crashes_of_every_kind_leave_liveness_alone",
        KEEPER + "a_worker_that_dies_while_it_loads_is_started_again_with_a_growing_back_off",
    ),
    Row(
        "killed-for-its-memory",
        "The kernel kills the process that runs the checks, because the cgroup has no memory left.",
        KEEPER + "a_worker_that_is_killed_for_its_memory_is_replaced",
    ),
    Row(
        "blocked-interpreter",
        "Nothing in the process that runs the checks makes progress.",
        KEEPER + "liveness_is_answered_while_the_interpreter_is_blocked",
        KEEPER + "a_worker_that_hangs_is_replaced",
        KEEPER + "a_worker_that_cannot_be_killed_is_replaced",
    ),
    Row(
        "wall-clock-jumps",
        "The wall clock jumps by hours and years, forward and backward.",
        CLOCKS + "a_wall_clock_that_jumps_changes_times_and_nothing_else",
    ),
    Row(
        "suspended",
        "The process is suspended for longer than several periods.",
        CLOCKS + "a_suspended_process_makes_up_for_no_run",
    ),
    Row(
        "start-of-500-checks",
        "500 checks with the same period start together.",
        "evaluation/test_timetable.py::test_five_hundred_checks_are_spread_over_the_period",
        CGROUPS + "500_checks_fit_into_64_mib",
    ),
    Row(
        "blocked-output",
        "Nobody reads standard output, it is closed, or the disk under it is full.",
        PROCESS + "a_blocked_standard_output_blocks_nothing",
        PROCESS + "it_runs_with_a_closed_standard_output",
        LIFETIME + "a_full_disk_under_standard_output_stops_nothing",
        "test_log.py::test_a_reader_that_has_stopped_reading_costs_lines_and_keeps_nobody_waiting",
    ),
    Row(
        "log-volume",
        "Everything fails, and every failure could be a line of the log.",
        "e2e/test_scenarios.py::test_the_log_is_quiet_and_complete",
        "evaluation/test_store.py::test_a_check_whose_runs_become_unknown_is_logged_once",
    ),
    Row(
        "handshake-storm",
        "Clients complete TLS handshakes as fast as they can.",
        STORMS + "a_storm_of_handshakes_leaves_the_probe_listener_usable",
    ),
)

CLIENTS_THAT_MISBEHAVE = (
    Row(
        "half-sent-requests",
        "300 clients send half a request.",
        CLIENTS + "nobody_is_held_forever",
        CLIENTS + "the_kubelet_gets_its_responses_while_they_are_held",
    ),
    Row(
        "dripping-client",
        "Clients send their headers one byte at a time.",
        CLIENTS + "a_request_has_its_time_in_all_and_not_for_each_byte",
    ),
    Row(
        "silent-tls-clients",
        "200 clients connect to the TLS port and send nothing.",
        CLIENTS + "nobody_is_held_forever",
    ),
    Row(
        "slow-readers",
        "Clients read a large response one byte at a time.",
        CLIENTS + "nobody_is_held_forever",
        LIFETIME + "sigterm_does_not_wait_for_a_scrape_that_is_not_read",
    ),
    Row(
        "scrape-storm",
        "More clients scrape than there are threads.",
        STORMS + "a_storm_of_scrapes_keeps_no_probe_waiting",
        CLIENTS + "probes_wait_for_no_thread",
        CLIENTS + "equal_scrapes_share_one_exposition",
        CLIENTS + "checks_go_on_while_answers_are_given",
    ),
    Row(
        "hostile-accept",
        "The headers that negotiate a format are malformed or huge.",
        "server/test_negotiation.py::test_any_accept_header_gets_a_known_format_for_little_cpu",
    ),
    Row(
        "ten-thousand-names",
        "A scrape asks for thousands of metrics by name, known and unknown.",
        ROUTES + "any_number_of_names_is_accepted",
        ROUTES + "unknown_names_give_empty_metrics",
    ),
    Row(
        "odd-methods",
        "Requests use every method, known and unknown.",
        ROUTES + "head_is_get_without_the_body",
        ROUTES + "other_methods_are_refused_with_the_allowed_ones",
    ),
    Row(
        "odd-paths",
        "Paths have doubled slashes, dots, escapes, 8 KB, or a whole URL.",
        ROUTES + "a_path_matches_exactly_or_is_404",
        ROUTES + "no_answer_is_a_redirect",
    ),
    Row(
        "reflected-text",
        "Paths, headers and names contain markup.",
        ROUTES + "hostile_text_is_escaped",
        ROUTES + "no_answer_repeats_the_request",
        "render/test_page.py::test_hostile_text_is_text",
    ),
    Row(
        "host-header",
        "The Host header and its relatives name another host.",
        ROUTES + "the_host_header_decides_nothing",
    ),
    Row(
        "wrong-credentials",
        "Credentials are missing, wrong, huge or malformed.",
        ROUTES + "without_the_right_password_every_path_is_401",
        PROCESS + "wrong_passwords_do_not_delay_probes",
        "server/test_credentials.py::test_malformed_headers_are_not_credentials",
        "server/test_users.py::test_an_unknown_user_takes_as_long_as_a_known_one",
    ),
    Row(
        "http-2",
        "Clients speak HTTP/2 with or without asking first.",
        CLIENTS + "http_2_is_not_spoken",
        CLIENTS + "what_is_no_request_is_refused_quietly",
    ),
    Row(
        "curious-strangers",
        "Strangers ask for the details of every check.",
        ROUTES + "the_grammar_is_the_apiservers",
        "render/test_health.py::test_free_text_is_in_no_answer_without_details",
    ),
    Row(
        "abandoned-requests",
        "Thousands of clients send a request and disconnect before its answer.",
        CLIENTS + "thousands_of_abandoned_scrapes_keep_nobody_waiting",
        CLIENTS + "nothing_is_done_for_clients_that_are_gone",
        CLIENTS + "clients_that_go_away_are_no_errors",
    ),
    Row(
        "guessers",
        "Many clients guess passwords, while the right user waits.",
        STORMS + "a_storm_of_wrong_passwords_delays_neither_the_right_one_nor_a_probe",
        "server/test_users.py::test_one_guesser_does_not_delay_another_address",
    ),
    Row(
        "revoked-access",
        "A user, a password or the authority of client certificates is replaced.",
        STORMS + "a_removed_user_and_a_changed_password_count_without_a_restart",
        "server/test_tls.py::test_a_new_authority_counts_from_the_next_handshake_on",
        "server/test_tls.py::test_no_session_outlives_its_authority",
    ),
)

TRUTH_OF_THE_METRICS = (
    Row(
        "hostile-labels",
        "Names and texts contain quotes, line ends, control characters, half a surrogate pair, or a megabyte.",
        RENDERED + "no_text_breaks_the_exposition",
        RENDERED + "any_text_is_read_back_from_both_formats",
    ),
    Row(
        "growing-cardinality",
        "A hundred reloads bring new names.",
        LIFETIME + "reloads_with_new_names_leave_nothing_behind",
        RENDERED + "free_text_is_in_no_label",
    ),
    Row(
        "removed-check",
        "A reload removes a check.",
        PROCESS + "sighup_reloads_the_file",
        "e2e/test_prometheus.py::test_the_series_of_a_removed_check_end_at_the_next_scrape",
    ),
    Row(
        "old-result",
        "A result is too old to be true.",
        CODE + "if_every_worker_is_stuck_the_application_stays_alive_and_the_exporter_reports_itself",
        "evaluation/test_store.py::test_a_reader_that_finds_a_stale_state_publishes_a_new_generation",
    ),
    Row(
        "scrape-during-update",
        "Scrapers read while results arrive, and configurations change.",
        "e2e/test_promise.py::test_answers_of_one_generation_never_contradict_each_other",
        "e2e/test_promise.py::test_generations_only_grow_and_counters_with_them",
    ),
    Row(
        "secrets-on-failure",
        "Every place that can hold a secret holds one, also a wrong one, and every check fails.",
        SECRETS + "a_serving_exporter_shows_no_secret",
        SECRETS + "the_commands_show_no_secret",
        SECRETS + "a_reload_of_a_wrong_file_shows_no_secret",
        SECRETS + "a_command_with_a_wrong_file_shows_no_secret",
    ),
    Row(
        "killed-and-started",
        "The exporter is killed and starts again.",
        LIFETIME + "after_a_kill_counters_begin_at_0_and_unknown_times_are_absent",
    ),
    Row(
        "impossible-numbers",
        "A target sends NaN or infinity, or the clock goes backward during a run.",
        "probe/test_expect.py::test_a_number_that_is_not_finite_never_passes",
        RENDERED + "numbers_beyond_every_measure_are_refused_before_they_get_here",
        "evaluation/test_run.py::test_the_duration_is_never_negative",
        CLOCKS + "a_wall_clock_that_jumps_changes_times_and_nothing_else",
    ),
    Row(
        "strict-scraper",
        "A scraper accepts only the exact content type.",
        "e2e/test_prometheus.py::test_the_exporter_is_up",
        ROUTES + "the_content_type_matches_the_body",
    ),
)

CONFIGURATION_AND_LIFETIME = (
    Row(
        "broken-configuration",
        "The configuration has every kind of error, is huge, binary, or a bomb of aliases.",
        "config/test_checks.py::test_a_bad_file_has_exactly_these_complaints",
        "test_cli.py::test_a_hostile_file_is_refused_with_little_cpu",
    ),
    Row(
        "broken-reload",
        "A running exporter gets a broken, half-written or missing configuration.",
        PROCESS + "an_invalid_file_keeps_the_running_configuration",
    ),
    Row(
        "configmap-swaps",
        "A ConfigMap is replaced hundreds of times.",
        LIFETIME + "a_configmap_that_is_swapped_all_the_time_is_loaded_whole",
        PROCESS + "a_changed_file_is_loaded",
    ),
    Row(
        "state-across-reloads",
        "A reload leaves checks unchanged.",
        PROCESS + "sighup_reloads_the_file",
        "evaluation/test_timetable.py::test_an_unchanged_check_keeps_its_due_time_at_a_reload",
    ),
    Row(
        "rotated-certificate",
        "The certificate of the server is replaced, with half of a pair in between.",
        PROCESS + "a_renewed_certificate_is_served_without_a_restart",
        "server/test_tls.py::test_a_bad_pair_leaves_the_old_certificate_and_a_good_one_comes_later",
    ),
    Row(
        "sigterm-during-a-scrape",
        "SIGTERM arrives while a client reads its answer slowly, or not at all.",
        LIFETIME + "sigterm_does_not_wait_for_a_scrape_that_is_not_read",
        LISTENER + "answers_in_progress_are_finished_at_the_end",
    ),
    Row(
        "sigterm-while-all-hangs",
        "SIGTERM arrives while checks, commands and mounts hang.",
        MOUNTS + "a_hung_mount_costs_one_child_and_keeps_nobody_waiting",
        CODE + "if_every_worker_is_stuck_the_application_stays_alive_and_the_exporter_reports_itself",
        PROCESS + "exec_children_end_with_the_exporter",
        PROCESS + "a_hung_check_does_not_delay_the_end",
        KEEPER + "sigterm_ends_even_if_the_worker_hangs",
    ),
    Row(
        "signals-at-bad-moments",
        "Signals arrive during the start, twice, or in a storm.",
        PROCESS + "sigterm_during_the_start_is_a_clean_end",
        PROCESS + "a_second_signal_ends_the_drain_at_once",
        KEEPER + "a_signal_before_the_worker_serves_ends_both_at_once",
        PROCESS + "a_storm_of_reloads_ends_with_the_latest_file",
    ),
    Row(
        "no-address",
        "The port is taken, the address does not exist yet, or IPv6 is off.",
        PROCESS + "an_address_in_use_ends_the_start_with_one_line",
        NETWORK + "an_address_that_the_machine_does_not_have_yet_is_named",
        NETWORK + "without_ipv6_it_listens_on_ipv4_and_names_an_address_that_it_cannot_have",
    ),
    Row(
        "bare-container",
        "An arbitrary user, no home, no writable folder, no locale, and a strict umask.",
        LIFETIME + "a_user_without_a_home_or_a_writable_folder_can_run_it",
        "image/test_image.py::test_it_has_no_capabilities_and_cannot_write",
    ),
    Row(
        "modes-of-python",
        "Python optimizes, turns warnings into errors, or runs in its development mode.",
        LIFETIME + "modes_of_python_change_nothing_and_warn_of_nothing",
    ),
    Row(
        "own-file-hangs",
        "A file that the exporter itself reads is on a mount that hangs, or is a FIFO.",
        FILES + "a_configuration_that_hangs_stops_no_check_no_answer_and_not_the_end",
        FILES + "a_fifo_in_place_of_the_configuration_is_a_failed_reload",
        FILES + "a_start_with_a_file_that_hangs_ends_with_one_line",
        FILES + "checks_whose_files_hang_end_by_their_deadlines_and_name_the_files",
        FILES + "a_certificate_that_hangs_is_not_loaded_and_a_later_one_is",
        "host/test_reader.py::test_only_regular_files_are_read",
    ),
    Row(
        "reload-without-threads",
        "A reload needs threads, and the system refuses to start them.",
        "faults/test_threads.py::test_a_reload_without_enough_threads_changes_nothing_and_is_repeated",
    ),
    Row(
        "inherited-state",
        "The parent process ignores SIGCHLD, blocks signals, or closes the standard streams.",
        "test_inherited.py::test_every_verdict_is_right_and_signals_end_it",
        "test_inherited.py::test_with_closed_standard_streams_no_socket_gets_their_numbers",
        KEEPER + "what_the_parent_process_has_set_and_closed_does_not_matter",
        PROCESS + "it_runs_with_a_closed_standard_output",
        EXEC + "a_status_that_something_else_collected_is_not_known",
    ),
    Row(
        "start-without-cpu",
        "The exporter starts with a small share of one CPU.",
        CGROUPS + "a_start_without_cpu_time_is_alive_from_the_first_answer",
        CGROUPS + "with_2_percent_of_a_cpu_it_is_alive_long_before_it_has_loaded",
        KEEPER + "it_answers_before_the_libraries_are_loaded",
    ),
    Row(
        "start-with-a-broken-configuration",
        "The configuration is broken or cannot be read when the exporter starts.",
        DEGRADED + "a_start_with_a_broken_configuration_is_alive_and_not_ready_until_it_is_fixed",
        DEGRADED + "a_start_with_a_file_that_hangs_is_alive",
        DEGRADED + "a_start_with_a_broken_plugin_is_alive",
        DEGRADED + "a_start_without_threads_is_alive_until_there_are_some",
        DEGRADED + "a_crash_changes_nothing_about_it",
    ),
    Row(
        "connection-to-itself",
        "A check connects from the port that it connects to, and reaches itself.",
        NETWORK + "a_connection_to_itself_is_refused_and_does_not_occupy_the_port",
        NETWORK + "dns_over_a_connection_to_itself_is_refused",
        NETWORK + "a_grpc_connection_to_itself_fails",
        NETWORK + "ask_does_not_reach_itself",
    ),
    Row(
        "foreign-process-models",
        "The embedded form runs under servers that fork or replace the threads of Python.",
        "embedded/test_health_exporter.py::test_under_gunicorn_every_worker_evaluates_and_answers",
        "embedded/test_health_exporter.py::test_a_forked_process_begins_anew",
    ),
)

IN_THE_CLUSTER = (
    Row(
        "shared-dependency",
        "A dependency of all replicas is down.",
        CLUSTER + "test_traffic.py::test_a_shared_dependency_that_is_down_restarts_no_replica",
    ),
    Row(
        "redirected-probe",
        "The kubelet would count a redirect of a probe as success.",
        ROUTES + "no_answer_is_a_redirect",
    ),
    Row(
        "exporter-restarts",
        "The exporter is stopped while the application is healthy.",
        CLUSTER + "test_missing_exporter.py::test_stopping_the_exporter_does_not_restart_the_application",
    ),
    Row(
        "slow-application",
        "The application takes longer to start than the exporter.",
        CLUSTER + "test_starting.py::test_liveness_does_not_kill_a_starting_application",
        "k8s/test_probe_numbers.py::test_rule_3_the_first_startup_probe_comes_after_a_stale_pass_is_out_of_date",
    ),
    Row(
        "no-scraper",
        "Prometheus is away.",
        LIFETIME + "without_a_scraper_nothing_accumulates",
    ),
    Row(
        "no-exporter",
        "The exporter has gone, or was never there.",
        "e2e/test_alerting.py::test_a_killed_exporter_inhibits_nothing_and_the_page_goes_on_about_the_replica",
        RULES + "promtool_passes_the_test",
    ),
    Row(
        "scrape-gaps",
        "Some scrapes are missing.",
        RULES + "promtool_passes_the_test",
    ),
    Row(
        "one-of-two-instances",
        "One of two instances is unhealthy.",
        "alerts/test_alertmanager.py::test_an_independent_alert_is_sent",
        RULES + "promtool_passes_the_test",
    ),
)

ROWS = (
    *TARGETS_THAT_MISBEHAVE,
    *LOCAL_CHECKS,
    *OWN_RESOURCES,
    *CLIENTS_THAT_MISBEHAVE,
    *TRUTH_OF_THE_METRICS,
    *CONFIGURATION_AND_LIFETIME,
    *IN_THE_CLUSTER,
)

if __name__ == "__main__":
    for test in sorted({test for row in ROWS for test in row.tests if not test.startswith(CLUSTER)}):
        print(f"tests/{test}")
