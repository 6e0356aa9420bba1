"""The pods of the sharded overlay divide its configuration: every check runs in exactly one pod."""

import re
from collections import Counter
from pathlib import Path

import yaml
from k8s.kustomized import exporter, health_yml, workload
from support import Exporter, ended


def test_every_check_runs_in_exactly_one_pod(tmp_path: Path) -> None:
    config = tmp_path / "health.yml"
    config.write_text(yaml.safe_dump(health_yml("sharded")))
    pods = [f"{workload('sharded')['metadata']['name']}-{n}" for n in range(workload("sharded")["spec"]["replicas"])]
    seen: Counter[str] = Counter()
    for pod in pods:
        arguments = [argument.replace("$(POD_NAME)", pod) for argument in exporter("sharded")["args"]]
        shard = [argument for argument in arguments if argument.startswith("--shard")]
        assert len(shard) == 2
        with ended(Exporter(*shard, config=config)) as process:
            infos = [sample for sample in process.metrics() if sample.startswith("health_check_info")]
        seen.update(re.findall(r'check="([^"]+)"', info)[0] for info in infos)
    assert seen == Counter(check["name"] for check in health_yml("sharded")["checks"])
