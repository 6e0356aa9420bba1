"""The incidents that a story has to explain: a play for each."""

from make import check, in_groups
from render.story.theatre import Theatre, Times

from exporter.evaluation.history import Event
from exporter.model import Group, Measurement, Outcome, Reason

KILLS = {"startup": Times(5, 24, initial_delay=6), "liveness": Times(10, 4), "readiness": Times(6, 2)}
"""The probes of the shipped manifests."""
EVERYWHERE = in_groups(*Group)
OK = Outcome.passed("GET http://127.0.0.1/health: 200")
REFUSED = Outcome.failed(Reason.CONNECT, "127.0.0.1:80: Connection refused")
LOAD = Outcome.passed("load average 0.00 on 2 CPUs")


def classic(theatre: Theatre, web, load=lambda now: LOAD, **options) -> Theatre:
    """The two checks of the classic liveness script. `options` are those of `web`."""
    theatre.targets = {"load": load, "web": web}
    theatre.start()
    theatre.watch(check("load", groups=in_groups(Group.LIVENESS)), check("web", groups=EVERYWHERE, **options))
    return theatre


def both_hold(theatre):
    classic(theatre, lambda now: OK)
    theatre.run_container(**KILLS)
    return theatre.play(2 * 3600), 3600


def the_web_server_is_stopped(theatre):
    pod = theatre.run_container(grace=3, **KILLS)

    def web(now):
        stopped, starts = now >= 720 and len(pod.begins) == 1, len(pod.begins) == 2 and now < pod.begin + 8
        return REFUSED if stopped or starts else OK

    return classic(theatre, web).play(1800), 3600


def other_status_codes(theatre):
    def web(now):
        code = 204 if 600 <= now < 615 else 500 if 900 <= now < 1000 else 200
        text = f"GET http://127.0.0.1/health: {code}"
        return Outcome.passed(text) if code == 200 else Outcome.failed(Reason.STATUS, f"{text}, expected 200")

    theatre.run_container(liveness=Times(10, 30), readiness=Times(6, 2))
    return classic(theatre, web).play(1800), 3600


def every_request_is_answered_with_500(theatre):
    failed = Outcome.failed(Reason.STATUS, "GET http://127.0.0.1:8080/: 500, expected 200 to 399")
    theatre.targets["api"] = lambda now: failed if now >= 305 else Outcome.passed("200")
    theatre.start()
    theatre.watch(check("api", groups=in_groups(Group.LIVENESS)))
    theatre.run_container(grace=30, liveness=Times(10, 3))
    return theatre.play(600), 3600


def slow_responses(theatre):
    late = Outcome.failed(Reason.TIMEOUT, "GET http://127.0.0.1:8080/: no response within 2 s")
    theatre.targets["api"] = lambda now: (late, 2.0) if 600 <= now < 780 else Outcome.passed("200")
    theatre.start()
    theatre.watch(check("api", timeout=2, groups=in_groups(Group.READINESS)))
    theatre.run_container(liveness=Times(10, 4), readiness=Times(6, 2))
    return theatre.play(1800), 3600


def redirects_and_errors(theatre):
    def web(now):
        code = 404 if 900 <= now < 930 else 302
        text = f"GET http://127.0.0.1:8080/: {code}"
        return Outcome.passed(text) if code == 302 else Outcome.failed(Reason.STATUS, f"{text}, expected 200 to 399")

    theatre.targets["web"] = web
    theatre.start()
    theatre.watch(check("web", failure_threshold=1))
    theatre.run_container(readiness=Times(6, 2))
    return theatre.play(1800), 3600


def a_database_that_accepts_but_does_not_answer(theatre):
    late = Outcome.failed(Reason.TIMEOUT, "127.0.0.1:3306: connected, but no response within 1 s")
    theatre.targets["port"] = lambda now: Outcome.passed("127.0.0.1:3306: connected")
    theatre.targets["mysql"] = lambda now: (late, 1.0) if now >= 1500 else Outcome.passed("SELECT 1")
    theatre.targets["mail"] = lambda now: Outcome.passed("220 mail.example")
    theatre.start()
    theatre.watch(check("port"), check("mysql"), check("mail"))
    theatre.run_container(readiness=Times(6, 2))
    return theatre.play(1800), 3600


def a_file_is_removed(theatre):
    gone = Outcome.failed(Reason.EXIT, "cat /tmp/healthy: exit status 1: cat: /tmp/healthy: No such file or directory")
    theatre.targets["warm"] = lambda now: gone if now >= 1200 else Outcome.passed("exit status 0")
    theatre.start()
    theatre.watch(check("warm", groups=in_groups(Group.LIVENESS)))
    return theatre.play(1800), 3600


def memory_reaches_its_limits(theatre):
    """A leak, which a restart ends for a while. Nothing keeps /startupz from 200, so the kubelet asks only once."""
    pod = theatre.run_container(grace=2, **KILLS)

    def memory(now):
        used = min(0.5 + (now - pod.begin) / 2000, 1.0)
        measured = Measurement("memory_used_ratio", used, warn=0.8, fail=0.9)
        return Outcome.measured(f"{used * 100:.0f} % of the container's 512 MiB used", measured)

    theatre.targets["memory"] = memory
    theatre.start()
    theatre.watch(check("memory", groups=in_groups(Group.LIVENESS)))
    return theatre.play(1200), 3600


def a_process_is_gone(theatre):
    gone = Outcome.failed(Reason.MISSING, "no process is named worker")
    theatre.targets["worker"] = lambda now: gone if 1000 <= now < 1042 else Outcome.passed("2 running, PIDs 17, 18")
    theatre.start()
    theatre.watch(check("worker", failure_threshold=2))
    theatre.act(1032, lambda: theatre.ask("/readyz"), every=1000)
    return theatre.play(1800), 3600


def a_new_pod_loads_a_file_for_15_s(theatre):
    theatre.targets["api"] = lambda now: OK if now >= 15 else REFUSED
    theatre.start()
    theatre.watch(check("api", period=2))
    theatre.run_container(readiness=Times(2, 3))
    return theatre.play(120), 3600


def a_pod_is_deleted(theatre):
    classic(theatre, lambda now: OK)
    theatre.run_container(**KILLS)
    theatre.act(900, theatre.store.drain)
    theatre.act(905, lambda: theatre.store.note(Event.STOPPED))
    return theatre.play(905), 600


def a_slow_start_and_a_restart(theatre):
    pod = theatre.run_container(grace=2, **KILLS)
    theatre.targets["api"] = lambda now: (
        REFUSED if not pod.begins or now < pod.begin + 45 or (len(pod.begins) == 1 and now >= 600) else OK
    )
    theatre.start()
    theatre.watch(check("api", groups=EVERYWHERE, period=5))
    return theatre.play(1200), 3600


def the_next_morning(theatre):
    """Memory grows by night, and the container is restarted at 03:12. Somebody asks in the morning."""

    def load(now):
        ratio = 0.96 if 690 <= now < 800 else 0.41
        measured = Measurement("load_ratio", ratio, fail=0.9)
        return Outcome.measured(f"load over 1m is {ratio * 2:g}, {measured.quantity} of 2 CPUs", measured)

    late = Outcome.failed(Reason.TIMEOUT, "GET http://127.0.0.1/health: no response within 1 s")
    pod = theatre.run_container(grace=30, **KILLS)

    def web(now):
        return (late, 1.0) if now >= 700 and len(pod.begins) == 1 else REFUSED if 0 < now - pod.begin < 9 else OK

    guidance = {"description": "The shop's API.", "owner": "shop", "runbook_url": "https://wiki.example/web"}
    classic(theatre, web, load, **guidance)
    return theatre.play(2 * 3600), 8 * 3600


def the_life_of_the_exporter(theatre):
    """A rejected configuration, a reload, a check that flaps, and a worker that is killed."""

    def flaps(now):
        return REFUSED if 1000 <= now < 2600 and int(now / 100) % 2 else OK

    theatre.targets = {"api": flaps, "db": lambda now: OK}
    theatre.start()
    theatre.watch(check("api", failure_threshold=2))
    theatre.act(300, lambda: theatre.store.note(Event.REJECTED, "health.yml:4: checks[1].tcpSocket.port: is required"))
    theatre.watch(check("api", failure_threshold=2), check("db"), second=360)
    theatre.run_container(readiness=Times(6, 2))
    theatre.act(3000, lambda: theatre.store.note(Event.STARTED, "version 0.1.0 on web-7d9c, worker restart 1"))
    theatre.watch(check("api", failure_threshold=3), check("db", period=5), second=3000.4)
    return theatre.play(3300), 3600


def restarts_are_suspended(theatre):
    """Somebody debugs a deadlock. The hold expires, and the kubelet restarts the container."""
    late = Outcome.failed(Reason.TIMEOUT, "GET http://127.0.0.1/health: no response within 1 s")
    pod = theatre.run_container(grace=30, **KILLS)
    theatre.act(240, lambda: theatre.store.hold(300, "debugging a deadlock"))
    theatre.act(400, lambda: theatre.store.hold(500, "it still hangs"))
    theatre.act(2400, lambda: theatre.store.hold(600, "another look"))
    theatre.act(2460, theatre.store.release)

    def web(now):
        return (late, 1.0) if now >= 330 and len(pod.begins) == 1 else REFUSED if 0 < now - pod.begin < 9 else OK

    return classic(theatre, web).play(3000), 3600


PLAYS = (
    both_hold,
    the_web_server_is_stopped,
    other_status_codes,
    every_request_is_answered_with_500,
    slow_responses,
    redirects_and_errors,
    a_database_that_accepts_but_does_not_answer,
    a_file_is_removed,
    memory_reaches_its_limits,
    a_process_is_gone,
    a_new_pod_loads_a_file_for_15_s,
    a_pod_is_deleted,
    a_slow_start_and_a_restart,
    the_next_morning,
    the_life_of_the_exporter,
    restarts_are_suspended,
)
