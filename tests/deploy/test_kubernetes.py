"""The manifests: valid for Kubernetes, as hardened as the restricted profile asks, and the same as the compose file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.embedded.artifacts import pinned
from deploy.environment import COMPOSE_FILE, Wishes, environment
from processors.app import TOPICS
from schemas.alerts import SIGNALS_TOPIC
from schemas.partners import load_partners
from schemas.settings import Settings
from streams.partner_access import Right, rights_of, user_of
from tests.deploy.compose import raw

Manifest = dict[str, Any]
VERSION = "1.37"
ROOT = COMPOSE_FILE.parent / "kubernetes"
COMPOSE = raw()["services"]
WORKERS = ("ingest", "correlate", "lifecycle")
OURS = (*WORKERS, "desk", "migrate")
OF_OPERATORS = {
    *("ScaledObject", "TriggerAuthentication", "Kafka", "KafkaNodePool", "KafkaUser", "ClickHouseInstallation"),
}
"""Kinds that no schema of a package describes; their own tests are below."""


def built(folder: Path) -> list[Manifest]:
    """The manifests that a kustomization lists, folders followed; what its generators make is not among them."""
    found: list[Manifest] = []
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
        path = folder / name
        found += built(path) if path.is_dir() else [each for each in yaml.safe_load_all(path.read_text()) if each]
    return found


BASE = built(ROOT)
JOB = built(ROOT / "migrate")
EXAMPLES = built(ROOT / "examples")
ALL = [*BASE, *JOB, *EXAMPLES]


def of_kind(kind: str, among: list[Manifest] = ALL) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in among if each["kind"] == kind}


PODS = {
    name: each["spec"]["template"]["spec"]
    for kind in ("Deployment", "Job")
    for name, each in of_kind(kind, [*BASE, *JOB]).items()
}


def container(name: str) -> Manifest:
    (found,) = PODS[name]["containers"]
    return dict(found)


def given(name: str) -> dict[str, Any]:
    """Settings of a process: those of the shared ConfigMap and its own; secrets as references."""
    (generated,) = yaml.safe_load((ROOT / "settings" / "kustomization.yaml").read_text())["configMapGenerator"]
    shared = dict(literal.split("=", 1) for literal in generated["literals"])
    assert {"configMapRef": {"name": generated["name"]}} in container(name)["envFrom"]
    own = {each["name"]: each.get("value", each.get("valueFrom")) for each in container(name)["env"]}
    return {**shared, **own}


@pytest.mark.parametrize("manifest", [each for each in ALL if each["kind"] not in OF_OPERATORS], ids=lambda each: (
    f"{each['kind']}-{each['metadata']['name']}"
))  # fmt: skip
def test_it_is_valid(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_mistyped_field_is_not_valid() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(of_kind("Deployment", BASE)["ingest"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("folder", [".", "migrate", "examples"])
def test_kustomize_builds_it(folder: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here, which has Kustomize built in")
    made = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    names = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(made.stdout)}
    assert {(each["kind"], each["metadata"]["name"]) for each in built(ROOT / folder)} <= names


def test_every_process_of_the_compose_file_is_there_with_the_same_command() -> None:
    assert set(PODS) == set(OURS)
    for name in OURS:
        assert container(name)["command"] == COMPOSE[name]["command"]
        assert container(name)["image"] == COMPOSE[name]["image"]


@pytest.mark.parametrize("name", OURS)
def test_it_has_the_settings_of_the_compose_file(name: str) -> None:
    ours, theirs = given(name), COMPOSE[name]["environment"]
    fields = {f"TOCSIN_{field.upper()}" for field in Settings.model_fields}
    assert {key.removesuffix("_FILE") for key in ours} - fields <= {"TOCSIN_ONCALL", "TOCSIN_PARTNERS"}
    # There is no Grafana in the base.
    assert set(theirs) - set(ours) <= {"TOCSIN_GRAFANA_URL", "TOCSIN_GRAFANA_DESK_TOKEN"}
    for key, value in theirs.items():
        if key in ours and "://" not in value and not value.startswith("${"):
            assert ours[key] == value, key
    for key in ("TOCSIN_CLICKHOUSE_PASSWORD", "TOCSIN_CLICKHOUSE_READER_PASSWORD"):
        assert ours[key] == {"secretKeyRef": {"name": "tocsin", "key": key}}


@pytest.mark.parametrize("name", OURS)
def test_it_runs_under_the_restricted_profile(name: str) -> None:
    pod, own = PODS[name], container(name)
    assert pod["automountServiceAccountToken"] is False
    user, group = (int(part) for part in COMPOSE[name]["user"].split(":"))
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(own["resources"]) == {"requests", "limits"}
    mounted = {each["mountPath"]: each["name"] for each in own["volumeMounts"]}
    assert {"/tmp", given(name)["TOCSIN_DATA_DIR"], "/etc/tocsin"} == set(mounted)
    assert set(mounted.values()) == {each["name"] for each in pod["volumes"]}


def test_no_secret_is_in_the_manifests() -> None:
    assert not of_kind("Secret")
    for path in ROOT.rglob("*.yaml"):
        assert "secretGenerator" not in path.read_text()


@pytest.mark.parametrize("name", [*WORKERS, "desk"])
def test_probes_ask_what_serves_and_there_is_time_to_stop(name: str) -> None:
    own = container(name)
    (port,) = own["ports"]
    probes = [own[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe")]
    assert all(probe["path"] == "/health" and probe["port"] == port["name"] for probe in probes)
    served = COMPOSE["desk"]["command"][-1] if name == "desk" else given(name)["TOCSIN_METRICS_PORT"]
    assert port["containerPort"] == int(served)
    assert f"{PODS[name]['terminationGracePeriodSeconds']}s" == COMPOSE[name]["stop_grace_period"]
    if name == "desk":
        assert probes[0]["httpHeaders"][0]["value"] in given("desk")["TOCSIN_DESK_HOSTS"]


def test_workers_scale_by_the_lag_of_their_own_group() -> None:
    scaled = of_kind("ScaledObject", BASE)
    settings = Settings()
    assert set(scaled) == {"ingest", "correlate"}
    for name, group in (("ingest", settings.ingest_group), ("correlate", settings.correlate_group)):
        spec = scaled[name]["spec"]
        assert scaled[name]["apiVersion"] == "keda.sh/v1alpha1"
        assert spec["scaleTargetRef"] == {"name": name}
        assert "replicas" not in of_kind("Deployment", BASE)[name]["spec"], "an apply would undo the scaling"
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "kafka"
        assert trigger["metadata"]["consumerGroup"] == group
        assert int(trigger["metadata"]["version"].split(".")[0]) <= int(pinned().kafka_version.split(".")[0])
        assert trigger["metadata"]["bootstrapServers"] == given(name)["TOCSIN_KAFKA_BOOTSTRAP"]
        assert (trigger["metadata"]["tls"], trigger["metadata"]["sasl"]) == ("enable", "scram_sha512")
        assert trigger["authenticationRef"]["name"] in of_kind("TriggerAuthentication", BASE)
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes texts only"
        assert spec["maxReplicaCount"] == int(given(name)["TOCSIN_TOPIC_PARTITIONS"])
    # Without a topic KEDA counts every topic of the group, which are the eleven of the events.
    assert "topic" not in scaled["ingest"]["spec"]["triggers"][0]["metadata"]
    assert len(TOPICS) > 1
    assert scaled["correlate"]["spec"]["triggers"][0]["metadata"]["topic"] == SIGNALS_TOPIC


def test_one_lifecycle_worker_waits_and_one_desk_has_the_file() -> None:
    deployments = of_kind("Deployment", BASE)
    assert deployments["lifecycle"]["spec"]["replicas"] == 2
    assert deployments["desk"]["spec"]["replicas"] == 1
    assert deployments["desk"]["spec"]["strategy"] == {"type": "Recreate"}
    claims = {each["persistentVolumeClaim"]["claimName"] for each in PODS["desk"]["volumes"] if len(each) > 1
              and "persistentVolumeClaim" in each}  # fmt: skip
    assert claims == set(of_kind("PersistentVolumeClaim", BASE))


def test_every_selector_finds_its_pods() -> None:
    labels = {
        name: each["spec"]["template"]["metadata"]["labels"] for name, each in of_kind("Deployment", BASE).items()
    }
    labels["migrate"] = of_kind("Job", JOB)["migrate"]["spec"]["template"]["metadata"]["labels"]
    budgets = of_kind("PodDisruptionBudget", BASE)
    assert set(budgets) == {*WORKERS, "desk"}
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"] == labels[name]
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for name, each in of_kind("Deployment", BASE).items():
        assert each["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for policy in of_kind("NetworkPolicy", BASE).values():
        wanted = policy["spec"]["podSelector"]
        fits = [name for name, has in labels.items() if _selects(wanted, has)]
        assert fits, policy["metadata"]["name"]
    nothing = of_kind("NetworkPolicy", BASE)["nothing-else"]["spec"]
    assert all(_selects(nothing["podSelector"], has) for has in labels.values())
    assert set(nothing["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in nothing
    assert "egress" not in nothing


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels[each["key"]] in each["values"] for each in expressions
    )


def test_policies_open_the_ports_of_the_settings() -> None:
    rules = of_kind("NetworkPolicy", BASE)["to-kafka-registry-and-clickhouse"]["spec"]["egress"]
    opened = {
        (rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in rules
        for port in rule["ports"]
    }
    settings = given("ingest")
    for key in ("TOCSIN_KAFKA_BOOTSTRAP", "TOCSIN_REGISTRY_URL", "TOCSIN_CLICKHOUSE_URL"):
        host, port = settings[key].rpartition("//")[2].split("/")[0].split(":")
        assert (host.split(".")[1], int(port)) in opened, key
    assert set(of_kind("Namespace", EXAMPLES)) == {"tocsin-kafka", "tocsin-clickhouse"}


def test_kafkas_example_is_set_as_in_the_compose_file() -> None:
    kafka = of_kind("Kafka", EXAMPLES)["tocsin"]
    assert kafka["apiVersion"] == "kafka.strimzi.io/v1"
    config = kafka["spec"]["kafka"]["config"]
    for name in (
        "auto.create.topics.enable",
        "message.max.bytes",
        "replica.fetch.max.bytes",
        "offsets.retention.minutes",
    ):
        assert str(config[name]).lower() == COMPOSE["kafka-1"]["environment"]["KAFKA_" + name.upper().replace(".", "_")]
    assert str(config["default.replication.factor"]) == given("migrate")["TOCSIN_TOPIC_REPLICAS"]
    listeners = {each["name"]: each for each in kafka["spec"]["kafka"]["listeners"]}
    assert listeners["partners"]["tls"] is True
    assert listeners["partners"]["authentication"] == {"type": "scram-sha-512"}
    # The one that asks nobody is closed to all but the registry.
    open_to_all = [name for name, each in listeners.items() if "authentication" not in each]
    assert open_to_all == ["registry"]
    assert listeners["registry"]["networkPolicyPeers"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "registry"}}}
    ]
    assert listeners["platform"]["tls"] is True
    assert listeners["platform"]["networkPolicyPeers"]
    host, port = given("ingest")["TOCSIN_KAFKA_BOOTSTRAP"].split(":")
    assert host.startswith(f"{kafka['metadata']['name']}-kafka-bootstrap.{kafka['metadata']['namespace']}.")
    assert int(port) == listeners["platform"]["port"]
    (pool,) = of_kind("KafkaNodePool", EXAMPLES).values()
    assert pool["metadata"]["labels"] == {"strimzi.io/cluster": kafka["metadata"]["name"]}
    assert pool["spec"]["replicas"] == config["default.replication.factor"]
    assert set(pool["spec"]["roles"]) == {"broker", "controller"}


def test_each_partner_may_write_its_own_families_and_nothing_else() -> None:
    users = of_kind("KafkaUser", EXAMPLES)
    partners = {partner.id: partner for partner in load_partners(Settings().partners_file)}
    assert set(users) == {*partners, given("ingest")["TOCSIN_KAFKA_SASL_USERNAME"]}
    for name, partner in partners.items():
        spec = users[name]["spec"]
        assert user_of(partner) == name
        assert spec["authentication"] == {"type": "scram-sha-512"}
        # The same as 'tocsin partners grant' gives.
        assert [
            Right(resource["type"].title(), resource["name"], resource["patternType"].title(), operation)
            for rule in spec["authorization"]["acls"]
            for resource in [rule["resource"]]
            for operation in rule["operations"]
        ] == list(rights_of(partner))


@pytest.mark.parametrize("name", OURS)
def test_ours_log_in_to_kafka_with_a_secret_in_a_file(name: str) -> None:
    kafka = of_kind("Kafka", EXAMPLES)["tocsin"]["spec"]["kafka"]
    settings = given(name)
    user = settings["TOCSIN_KAFKA_SASL_USERNAME"]
    assert settings["TOCSIN_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert user in kafka["authorization"]["superUsers"]
    (volume,) = [each["projected"]["sources"] for each in PODS[name]["volumes"] if each["name"] == "people"]
    files = {
        f"/etc/tocsin/{item['path']}": (source["secret"]["name"], item["key"])
        for source in volume
        for item in source.get("secret", {}).get("items", [])
    }
    password = files[settings["TOCSIN_KAFKA_SASL_PASSWORD_FILE"]]
    spec = of_kind("KafkaUser", EXAMPLES)[user]["spec"]["authentication"]
    assert password == tuple(spec["password"]["valueFrom"]["secretKeyRef"].values())
    (auth,) = of_kind("TriggerAuthentication", BASE).values()
    assert {each["parameter"]: (each["name"], each["key"]) for each in auth["spec"]["secretTargetRef"]} == {
        "password": password,
        "ca": files[settings["TOCSIN_KAFKA_SSL_CA_LOCATION"]],
    }
    assert auth["spec"]["env"] == [{"parameter": "username", "name": "TOCSIN_KAFKA_SASL_USERNAME"}]
    assert password[1] in environment(Wishes(1, 1, "127.0.0.1", "."), {})


def test_the_registrys_example_is_the_compose_files() -> None:
    (registry,) = of_kind("Deployment", EXAMPLES)["registry"]["spec"]["template"]["spec"]["containers"]
    assert registry["image"] == COMPOSE["registry"]["image"]
    assert {each["name"] for each in registry["env"]} == set(COMPOSE["registry"]["environment"])


def test_the_gates_example_is_the_compose_files_with_its_secrets_in_files() -> None:
    pod = of_kind("Deployment", EXAMPLES)["gate"]["spec"]["template"]["spec"]
    (own,) = pod["containers"]
    assert (own["image"], own["command"]) == (COMPOSE["gate"]["image"], COMPOSE["gate"]["command"])
    settings = {each["name"]: each["value"] for each in own["env"]}
    assert {name.removesuffix("_FILE") for name in settings} == set(COMPOSE["gate"]["environment"])
    named = {value for name, value in settings.items() if name.endswith("_FILE")}
    assert named == {"/etc/gate/password", "/etc/gate/tls.key", "/etc/gate/tls.crt"}
    assert {each["mountPath"] for each in own["volumeMounts"]} == {"/tmp", "/etc/gate"}
    registry = of_kind("Service", EXAMPLES)["registry"]["metadata"]
    assert f"//{registry['name']}.{registry['namespace']}.svc:" in settings["TOCSIN_REGISTRY_URL"]


def test_clickhouses_example_has_the_users_of_the_compose_file() -> None:
    import xml.etree.ElementTree as ET

    installation = of_kind("ClickHouseInstallation", EXAMPLES)["tocsin"]
    assert installation["apiVersion"] == "clickhouse.altinity.com/v1"
    configuration = installation["spec"]["configuration"]
    root = ET.parse(COMPOSE_FILE.parent / "clickhouse_server" / "users.xml").getroot()
    reader = root.find("users/reader")
    assert reader is not None
    assert configuration["users"]["reader/grants/query"] == [query.text for query in reader.iter("query")]
    profile = root.find("profiles/tocsin_reader")
    assert profile is not None
    flat = {f"tocsin_reader/{each.tag}": each.text for each in profile if each.tag != "constraints"}
    flat |= {
        f"tocsin_reader/constraints/{setting.tag}/{bound.tag}": bound.text
        for setting in profile.iterfind("constraints/*")
        for bound in setting
    }
    assert {key: str(value) for key, value in configuration["profiles"].items()} == flat
    for user in ("tocsin", "reader"):
        key = "TOCSIN_CLICKHOUSE_PASSWORD" if user == "tocsin" else "TOCSIN_CLICKHOUSE_READER_PASSWORD"
        assert configuration["users"][f"{user}/password"]["valueFrom"]["secretKeyRef"] == {"name": "tocsin", "key": key}
    (template,) = installation["spec"]["templates"]["podTemplates"]
    assert template["spec"]["containers"][0]["image"] == COMPOSE["clickhouse"]["image"]
    volumes = {each["name"] for each in installation["spec"]["templates"]["volumeClaimTemplates"]}
    assert installation["spec"]["defaults"]["templates"]["dataVolumeClaimTemplate"] in volumes
    assert f"clickhouse-{installation['metadata']['name']}." in given("ingest")["TOCSIN_CLICKHOUSE_URL"]
