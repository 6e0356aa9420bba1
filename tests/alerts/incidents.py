"""The incidents: the pods of each, and what happens to them. The messages are in incidents/, one file each."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from alerts.pods import Pod, Spans, Watch, deploy
from alerts.timeline import Workload

from exporter.model import Group, Severity

ALL_GROUPS = frozenset({Group.LIVENESS, Group.READINESS, Group.STARTUP})
LIVE = frozenset({Group.LIVENESS, Group.READINESS})
FOREVER = 1e6
WELL = Watch("web", kind="httpGet", target="http://127.0.0.1:80/health", groups=LIVE)


@dataclass(frozen=True)
class Incident:
    """What happens, in `minutes` minutes."""

    pods: tuple[Pod, ...]
    workloads: tuple[Workload, ...] = ()
    minutes: int = 60
    pages: int = 0
    tickets: int = 0


INCIDENTS: dict[str, Callable[[], Incident]] = {}


def incident(build: Callable[[], Incident]) -> Callable[[], Incident]:
    """Register an incident by the name of its function."""
    INCIDENTS[build.__name__] = build
    return build


def down(name: str, start: float, end: float, reason: str = "connect", **options: object) -> Watch:
    """Return a check that fails from one minute to another."""
    return replace(Watch(name, ((0, "pass"), (start, reason), (end, "pass"))), **options)  # type: ignore[arg-type]


def change(pods: list[Pod], place: int, **options: object) -> list[Pod]:
    """Return the pods, one of them changed."""
    return [replace(pod, **options) if number == place else pod for number, pod in enumerate(pods)]  # type: ignore[arg-type]


def kube(*jobs: tuple[str, int]) -> tuple[Workload, ...]:
    """Return Deployments with a constant number of replicas."""
    return tuple(Workload(job, ((0, count),)) for job, count in jobs)


@incident
def database_down_for_three_replicas() -> Incident:
    return Incident(tuple(deploy(3, WELL, down("db", 20, 50))), minutes=100, pages=1)


@incident
def database_down_for_twelve_replicas() -> Incident:
    return Incident(tuple(deploy(12, WELL, down("db", 20, 50))), kube(("shop", 12)), minutes=70, pages=1)


@incident
def slow_start_in_a_rollout() -> Incident:
    """Each of three pods is replaced, one after the other. The new application starts 90 s after its exporter."""
    old = deploy(3, WELL)
    new = deploy(3, job="shop", net=1)
    pods = []
    for place in range(3):
        begin, end = 20 + 4 * place, 22.5 + 4 * place
        app = replace(WELL, groups=ALL_GROUPS, script=((0, "connect"), (begin + 1.5, "pass")))
        life: Spans = ((begin, FOREVER),)
        pods.append(
            replace(old[place], processes=((0, end),), drained=end, target=((0, end + 0.5),), exists=((0, end + 0.5),))
        )
        pods.append(
            replace(new[place], name=f"shop-new-{place}", checks=(app,), processes=life, target=life, exists=life)
        )
    return Incident(tuple(pods), kube(("shop", 3)), minutes=75)


@incident
def one_check_flaps_on_one_of_three() -> Incident:
    flapping = Watch("db", ((0, "pass"), (20, "flap"), (50, "pass")))
    return Incident(tuple(change(deploy(3, WELL, Watch("db")), 1, checks=(WELL, flapping))), minutes=90, tickets=1)


@incident
def node_overloaded() -> Incident:
    """Five applications with one replica on node-1 run late and time out; on other nodes, none does."""
    shaky = replace(WELL, script=((0, "pass"), (20, "flap"), (45, "pass")))
    pods = [
        replace(pod, checks=(shaky,), lagging=((20, 45),))
        for place in range(5)
        for pod in deploy(1, job=f"app-{place}", net=place)
    ]
    hosts = deploy(3, WELL, job="health-exporter", net=9)
    pods += change(hosts, 0, lagging=((20, 45),)) + deploy(4, WELL, job="other", net=8)
    return Incident(tuple(pods), minutes=75, pages=1)


@incident
def node_lost() -> Incident:
    """Twelve applications with one replica each on node-1; two with more replicas elsewhere."""
    pods = [
        replace(pod, processes=((0, 20),))
        for place in range(12)
        for pod in deploy(1, WELL, job=f"app-{place}", net=place)
    ]
    for job, net in (("shop", 20), ("bank", 21)):
        pods += change(deploy(4, WELL, job=job, net=net), 0, processes=((0, 20),))
    return Incident(tuple(pods), minutes=45, pages=1)


@incident
def certificate_nears_its_end() -> Incident:
    """The certificate reaches 7 days at minute 40, when the check starts to fail on all replicas."""
    web = Watch("tls", kind="certificate", groups=frozenset(), expires=7 * 1440 + 40, target="shop.example:443")
    return Incident(tuple(deploy(3, WELL, web)), minutes=70, tickets=1)


@incident
def certificate_reaches_its_last_day() -> Incident:
    """A day is left at minute 40: the ticket goes on, and a page joins it."""
    web = Watch("tls", kind="certificate", groups=frozenset(), expires=1440 + 40, target="shop.example:443")
    return Incident(tuple(deploy(3, WELL, web)), minutes=70, pages=1, tickets=1)


@incident
def exporter_killed_every_three_minutes() -> Incident:
    """One of three exporters is killed for its memory, and away for 30 s each time."""
    lives = ((0, 20), *((20.5 + 3 * turn, 23 + 3 * turn) for turn in range(10)), (50.5, FOREVER))
    return Incident(tuple(change(deploy(3, WELL), 1, processes=lives)), minutes=75, tickets=1)


@incident
def exporter_in_a_crash_loop() -> Incident:
    """One of three exporters crashes after 15 s, and waits twice as long each time."""
    lives: Spans = (
        (0, 20),
        (20.25, 20.5),
        (21, 21.25),
        (22, 22.25),
        (23.75, 24),
        (26.75, 27),
        (32, 32.25),
        (37.25, 37.5),
    )
    return Incident(tuple(change(deploy(3, WELL), 1, processes=(*lives, (42.5, FOREVER)))), minutes=60, tickets=1)


@incident
def configuration_with_a_typo() -> Incident:
    """Ten replicas reject the file from minute 20 to 50. Two restart at 25, and are not ready until it is fixed."""
    pods = deploy(10, WELL, rejected=((20, 50),))
    for place in (3, 7):
        pods = change(pods, place, processes=((0, 25), (25.25, FOREVER)))
    return Incident(tuple(pods), minutes=75, tickets=1)


@incident
def scrape_blocked() -> Incident:
    """A NetworkPolicy blocks Prometheus. The kubelet still gets responses, which kube-state-metrics reports."""
    return Incident(tuple(deploy(10, WELL, unscraped=((20, 50),))), kube(("shop", 10)), minutes=75, tickets=1)


@incident
def discovery_lost() -> Incident:
    """Prometheus loses the targets of pods that are ready."""
    return Incident(tuple(deploy(10, WELL, target=((0, 20), (45, FOREVER)))), kube(("shop", 10)), minutes=60, tickets=1)


@incident
def application_gone() -> Incident:
    """All pods are evicted. The Deployment still wants three, which do not come up before minute 45."""
    there: Spans = ((0, 20), (45, FOREVER))
    return Incident(
        tuple(deploy(3, WELL, processes=there, target=there, exists=there)), kube(("shop", 3)), minutes=65, pages=1
    )


@incident
def target_slow_and_then_out_of_time() -> Incident:
    slow = Watch("db", ((0, "pass"), (20, "slow"), (50, "timeout"), (70, "pass")))
    return Incident(tuple(deploy(3, WELL, slow)), minutes=95, pages=1, tickets=1)


@incident
def one_of_thirty_replicas_not_ready() -> Incident:
    """Own. The check has severity warning."""
    calm = Watch("db", severity=Severity.WARNING)
    broken = down("db", 20, 50, severity=Severity.WARNING)
    return Incident(tuple(change(deploy(30, calm), 4, checks=(broken,))), minutes=75, tickets=1)


@incident
def all_exporters_crash() -> Incident:
    """Own. The targets stay, and there is no kube-state-metrics."""
    return Incident(tuple(deploy(3, WELL, processes=((0, 20), (50, FOREVER)))), minutes=75, pages=1)


@incident
def database_down_and_then_the_exporters() -> Incident:
    """Own. The exporters die ten minutes after the database: the page goes on, now about the replicas."""
    pods = deploy(3, WELL, down("db", 20, FOREVER), processes=((0, 30),))
    return Incident(tuple(pods), minutes=60, pages=2)


@incident
def same_addresses_in_two_clusters() -> Incident:
    """Own. The database of one cluster fails; an exporter of the other is down, with an address that both use."""
    pods = deploy(3, WELL, down("db", 20, 40), cluster="us")
    pods += change(deploy(3, WELL, Watch("db"), cluster="eu"), 0, processes=((0, 20), (40, FOREVER)))
    return Incident(tuple(pods), minutes=65, pages=1, tickets=1)


@incident
def many_short_outages() -> Incident:
    """Own. All replicas fail for 50 s every 5 minutes: too short for any other page, too often for the budget.

    The ticket, which waits for the end of the page, is about the check that flaps.
    """
    steps = [
        (minute, word)
        for turn in range(12)
        for minute, word in ((35 + 5 * turn, "connect"), (35.84 + 5 * turn, "pass"))
    ]
    return Incident(tuple(deploy(3, Watch("db", ((0, "pass"), *steps)))), minutes=120, pages=1, tickets=1)


@incident
def lost_scrapes() -> Incident:
    """Own. Each target misses a scrape now and then, all of them at minute 30, and more after a short failure."""
    lost: Spans = ((10, 10.25), (20.75, 22.25), (30, 30.5), (40, 40.25))
    checks = (WELL, down("db", 10, 10.5), down("cache", 20, 20.25))
    return Incident(tuple(deploy(3, *checks, unscraped=lost)), minutes=50)


@incident
def exporter_without_a_group_dies() -> Incident:
    """Own. The checks of three exporters are in no group, so only /healthz depends on them, and one exporter dies."""
    pods = deploy(3, replace(WELL, groups=frozenset()))
    return Incident(tuple(change(pods, 1, processes=((0, 20),))), minutes=50, tickets=1)


@incident
def scaled_to_zero() -> Incident:
    """Own. The Deployment is scaled to zero at night, and its pods end in order."""
    pods = deploy(3, WELL, processes=((0, 20),), drained=20, target=((0, 20.25),), exists=((0, 20.25),))
    return Incident(tuple(pods), (Workload("shop", ((0, 3), (20, 0))),), minutes=60)


@incident
def job_gone_without_kube_state_metrics() -> Incident:
    """Own. Nobody can tell whether it was on purpose."""
    return Incident(
        tuple(deploy(3, WELL, processes=((0, 20),), target=((0, 20),)) + deploy(2, WELL, job="bank", net=1)),
        minutes=50,
        tickets=1,
    )


@incident
def target_that_never_comes_up() -> Incident:
    """Own. A fourth replica is added at minute 10; its exporter's image cannot be pulled."""
    pods = deploy(4, WELL)
    return Incident(tuple(change(pods, 3, processes=(), target=((10, FOREVER),))), minutes=60, tickets=1)


@incident
def rollout_that_never_becomes_ready() -> Incident:
    """Own. The first new pod of three never starts, so the rollout stops: the old ones serve."""
    app = replace(WELL, groups=ALL_GROUPS, script=((0, "connect"),))
    pods = change(deploy(4, WELL), 3, checks=(app,), processes=((20, FOREVER),), target=((20, FOREVER),))
    return Incident(tuple(pods), minutes=65, tickets=1)


@incident
def broken_version_of_a_single_replica() -> Incident:
    """Own. The only replica is replaced by a version that never starts."""
    old = deploy(1, WELL, processes=((0, 20),), drained=20, target=((0, 20.5),))
    new = deploy(1, replace(WELL, groups=ALL_GROUPS, script=((0, "connect"),)), net=1)
    there: Spans = ((20.5, FOREVER),)
    return Incident((*old, replace(new[0], name="shop-new-0", processes=there, target=there)), minutes=55, pages=1)


@incident
def slow_start_of_a_single_replica() -> Incident:
    """Own. The only replica is replaced, and starts for 90 s."""
    old = deploy(1, WELL, processes=((0, 20),), drained=20, target=((0, 20.5),))
    new = deploy(1, replace(WELL, groups=ALL_GROUPS, script=((0, "connect"), (22, "pass"))), net=1)
    there: Spans = ((20.5, FOREVER),)
    return Incident((*old, replace(new[0], name="shop-new-0", processes=there, target=there)), minutes=55)


@incident
def two_checks_of_which_one_depends_on_the_other() -> Incident:
    """Own. The orders fail because the database does."""
    orders = down("orders", 20, 40, "status", kind="httpGet", depends_on=("db",), target="http://127.0.0.1:80/orders")
    return Incident(tuple(deploy(3, WELL, down("db", 20, 40), orders)), minutes=60, pages=1)


@incident
def check_that_cannot_run() -> Incident:
    """Own. On one of three replicas, the command of a check disappears."""
    blind = Watch("batch", ((0, "pass"), (20, "?missing"), (40, "pass")), kind="exec", target="batch")
    return Incident(
        tuple(change(deploy(3, WELL, Watch("batch", kind="exec", target="batch")), 2, checks=(WELL, blind))),
        minutes=60,
        tickets=1,
    )


@incident
def one_of_three_replicas_restarted_by_liveness() -> Incident:
    """Own. An application hangs for two minutes, until the kubelet restarts it."""
    hung = replace(WELL, script=((0, "pass"), (20, "timeout"), (22, "pass")))
    return Incident(
        tuple(change(deploy(3, WELL), 0, checks=(hung,), restarts=(21.5,))), kube(("shop", 3)), minutes=60, tickets=1
    )


@incident
def restarts_suspended_to_debug() -> Incident:
    """Own. Somebody suspends restarts of one of three replicas for half an hour. It hangs for longer than that."""
    hung = replace(WELL, script=((0, "pass"), (20, "timeout"), (50, "pass")))
    return Incident(
        tuple(change(deploy(3, WELL), 0, checks=(hung,), held=((10, 40),))), kube(("shop", 3)), 75, tickets=3
    )


@incident
def node_lost_and_a_workload_down_elsewhere() -> Incident:
    """Own. A node is lost with four applications and one of four replicas of a bank; the others crash at minute 30."""
    pods = [
        replace(pod, processes=((0, 20),))
        for place in range(4)
        for pod in deploy(1, WELL, job=f"app-{place}", net=place)
    ]
    bank = change(deploy(4, WELL, job="bank", net=9, processes=((0, 30),)), 0, processes=((0, 20),))
    well = deploy(3, WELL, job="well", net=10)[2:]  # on node-3
    return Incident((*pods, *change(bank, 3, node="node-2"), *well), minutes=45, pages=2)


@incident
def restart_during_an_outage() -> Incident:
    """Own. The database fails, and somebody restarts both replicas. The application starts for 90 s."""
    before: Spans = ((0, 6.25),)
    after: Spans = ((6.5, FOREVER),)
    db = down("db", 3, FOREVER)
    app = replace(WELL, groups=ALL_GROUPS, script=((0, "connect"), (8, "pass")))
    old = deploy(2, WELL, db, processes=((0, 6),), drained=6, target=before, exists=before)
    new = deploy(2, app, db, net=1, processes=after, target=after, exists=after)
    new = [replace(pod, name=f"shop-new-{place}") for place, pod in enumerate(new)]
    return Incident((*old, *new), kube(("shop", 2)), minutes=16, pages=1)


@incident
def all_replicas_restart_with_a_typo() -> Incident:
    """Own. The file is invalid from minute 2 on. At 6, all replicas restart, and none becomes ready."""
    pods = deploy(2, WELL, rejected=((2, FOREVER),), processes=((0, 6), (6.25, FOREVER)))
    return Incident(tuple(pods), kube(("shop", 2)), minutes=9, pages=1, tickets=1)


@incident
def prometheus_cut_off() -> Incident:
    """Own. Prometheus gets no response from any of four workloads, and there is no kube-state-metrics."""
    pods = [pod for net in range(4) for pod in deploy(1, WELL, job=f"app-{net}", net=net, unscraped=((2, 14),))]
    return Incident(tuple(pods), minutes=22, pages=1)
