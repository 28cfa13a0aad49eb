"""The compose file: valid, hardened, without a password, and saying the same as the code it starts."""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dashboards.grafana.build import PROVISIONING
from dashboards.grafana.model import DATASOURCE
from deploy.embedded.artifacts import pinned
from deploy.embedded.services import kafka_properties
from deploy.environment import COMPOSE_FILE, OF_A_CLUSTER, SECRETS, Wishes, environment
from schemas.settings import PACKAGE_ROOT, Settings
from tests.dashboards.engine import EngineClient
from tests.deploy.compose import JOBS, OURS, VARIABLE, filled, raw, seconds, strings, version_of

WISHES = {brokers: Wishes(brokers, 4, "127.0.0.1", "../schemas") for brokers in (1, 3)}
FILE = raw()
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OWN = [name for name, service in SERVICES.items() if service["image"].startswith(OURS)]
# The package is a command, whose own imports the file does not need.
SPECIFICATION = json.loads(
    Path(
        str(distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json"))
    ).read_text()
)
SERVER = COMPOSE_FILE.parent / "clickhouse_server"


@pytest.mark.parametrize("brokers", [1, 3])
def test_it_meets_the_specification(brokers: int) -> None:
    # Takes two seconds, also in the processes that run other tests.
    import jsonschema

    jsonschema.validate(filled(environment(WISHES[brokers], {})), SPECIFICATION)


def test_a_mistyped_key_does_not_meet_the_specification() -> None:
    import jsonschema

    wrong = filled(environment(WISHES[1], {}))
    wrong["services"]["ingest"]["health_check"] = {}
    with pytest.raises(jsonschema.ValidationError, match="health_check"):
        jsonschema.validate(wrong, SPECIFICATION)


def test_init_writes_every_variable_and_no_other() -> None:
    asked = {name for text in strings(FILE) for name in VARIABLE.findall(text)}
    written = set(environment(WISHES[1], {}))
    # Compose itself reads the profiles.
    assert asked == written - {"COMPOSE_PROFILES", *OF_A_CLUSTER}


def test_a_missing_variable_is_an_error_wherever_it_is_used() -> None:
    text = "\n".join(line.partition(" #")[0] for line in COMPOSE_FILE.read_text().splitlines())
    assert text.count("$") == len(VARIABLE.findall(text))


def test_no_password_is_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY(?!STORE_TYPE)", key):
                assert VARIABLE.fullmatch(value), f"{name}: {key} is written out"
    values = environment(WISHES[1], {})
    assert len({values[name] for name in SECRETS}) == len(SECRETS)
    assert all(len(values[name]) >= 32 for name in SECRETS)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_bounded_and_without_rights(name: str) -> None:
    service = SERVICES[name]
    if name not in OWN:
        assert version_of(service["image"])
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    if name not in JOBS:
        check = service["healthcheck"]
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert seconds(check["timeout"]) < seconds(check["interval"]) + seconds(check["start_period"])
        assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OWN)
def test_ours_run_as_nobody_on_a_root_that_they_cannot_write(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    user, _, group = service["user"].partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    writable = {text.partition(":")[0] for text in service["tmpfs"]}
    writable |= {text.split(":")[1] for text in service["volumes"] if not text.endswith(":ro")}
    assert service["environment"]["TOCSIN_DATA_DIR"] in writable
    assert "/tmp" in writable


def test_our_image_has_the_version_of_the_package() -> None:
    version = tomllib.loads((PACKAGE_ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {SERVICES[name]["image"] for name in OWN} == {f"{OURS}{version}"}


def test_kafka_and_the_registry_have_the_versions_of_the_embedded_platform() -> None:
    assert version_of(SERVICES["kafka-1"]["image"]) == pinned().kafka_version
    assert version_of(SERVICES["registry"]["image"]) == pinned().registry_version
    assert len({service["image"] for name, service in SERVICES.items() if name.startswith("kafka-")}) == 1


def test_grafana_is_one_that_its_plugin_and_our_dashboards_take() -> None:
    grafana = SERVICES["grafana"]
    name, _, plugin = grafana["environment"]["GF_PLUGINS_PREINSTALL_SYNC"].partition("@")
    assert name == DATASOURCE["type"]
    assert plugin.startswith("4.")
    # The plugin's documentation, "Requirements": from 4.15 on it wants Grafana 11.6, before that 9.
    wanted = (11, 6) if int(plugin.split(".")[1]) >= 15 else (9, 4)
    assert tuple(map(int, version_of(grafana["image"]).split(".")[:2])) >= wanted


def test_kafka_is_set_as_the_embedded_one_where_it_matters_to_us() -> None:
    embedded = dict(line.split("=", 1) for line in kafka_properties(1, 2).splitlines())
    ours = SERVICES["kafka-1"]["environment"]
    for name in (
        "auto.create.topics.enable",
        "message.max.bytes",
        "replica.fetch.max.bytes",
        "offsets.retention.minutes",
        "process.roles",
    ):
        assert ours["KAFKA_" + name.upper().replace(".", "_")] == embedded[name]


def test_three_brokers_keep_three_copies_and_all_know_each_other() -> None:
    found = filled(environment(WISHES[3], {}))["services"]
    brokers = {name: service for name, service in found.items() if name.startswith("kafka-")}
    assert len(brokers) == 3
    assert all("cluster" in service.get("profiles", ["cluster"]) for service in brokers.values())
    assert "profiles" not in brokers["kafka-1"]
    for name, service in brokers.items():
        node = service["environment"]["KAFKA_NODE_ID"]
        assert f"{node}@{name}:9093" in service["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert service["environment"]["KAFKA_DEFAULT_REPLICATION_FACTOR"] == "3"
        # What partners are told is what is published.
        address, port, inside = service["ports"][0].split(":")
        assert f"PARTNERS://{address}:{port}" in service["environment"]["KAFKA_ADVERTISED_LISTENERS"]
        assert f"PARTNERS://:{inside}" in service["environment"]["KAFKA_LISTENERS"]
        waits = found["registry"]["depends_on"][name]
        assert waits == {"condition": "service_healthy"} | ({"required": False} if "profiles" in service else {})
    assert len({service["ports"][0].split(":")[1] for service in brokers.values()}) == 3
    assert environment(WISHES[3], {})["COMPOSE_PROFILES"] == "cluster"


def test_partners_see_kafka_and_the_gate_only() -> None:
    assert FILE["networks"]["platform"]["internal"] is True
    inside = {name for name, service in SERVICES.items() if "partners" in service["networks"]}
    assert inside == {"kafka-1", "kafka-2", "kafka-3", "gate"}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("${PARTNER_ADDRESS" if name in inside else "127.0.0.1:")


def test_partners_log_in_by_tls_and_ours_stay_on_a_network_without_a_way_out() -> None:
    kafka = SERVICES["kafka-1"]["environment"]
    protocols = dict(each.split(":") for each in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols == {"PLATFORM": "PLAINTEXT", "PARTNERS": "SASL_SSL", "CONTROLLER": "PLAINTEXT"}
    ports = dict(re.findall(r"([A-Z]+)://:(\d+)", kafka["KAFKA_LISTENERS"]))
    for name, service in SERVICES.items():
        if name.startswith("kafka-"):
            assert [each.rpartition(":")[2] for each in service["ports"]] == [ports["PARTNERS"]]
    assert kafka["KAFKA_SUPER_USERS"] == "User:ANONYMOUS"
    assert kafka["KAFKA_AUTHORIZER_CLASS_NAME"].endswith(".StandardAuthorizer")


def test_who_waits_for_whom() -> None:
    for name in OWN:
        after = SERVICES[name]["depends_on"]
        for other, how in after.items():
            job = other in JOBS
            assert how["condition"] == ("service_completed_successfully" if job else "service_healthy")
        assert {"kafka-1", "registry", "clickhouse"} <= set(after)
        assert (name in JOBS) or "migrate" in after


def test_every_volume_and_network_that_is_named_is_there() -> None:
    volumes = {text.split(":")[0] for service in SERVICES.values() for text in service.get("volumes", [])}
    named = {name for name in volumes if not name.startswith((".", "$"))}
    assert named == set(FILE["volumes"])
    assert {name for service in SERVICES.values() for name in service["networks"]} == set(FILE["networks"])
    for name in volumes:
        if name.startswith("."):
            assert (COMPOSE_FILE.parent / name).exists(), name


def test_every_setting_is_one_that_its_reader_knows() -> None:
    fields = {f"TOCSIN_{name.upper()}" for name in Settings.model_fields}
    grafana = "\n".join(path.read_text() for path in PROVISIONING.rglob("*.yaml"))
    known = {
        "grafana": set(re.findall(r"\$\{?(TOCSIN_[A-Z_]+)", grafana)),
        "clickhouse": set(re.findall(r'from_env="(TOCSIN_[A-Z_]+)"', (SERVER / "users.xml").read_text())),
    }
    for name, service in SERVICES.items():
        named = {key for key in service["environment"] if key.startswith("TOCSIN_")}
        assert named <= known.get(name, fields), name
    # And the other way round: what the provisioning reads is given.
    assert known["grafana"] <= set(SERVICES["grafana"]["environment"])
    assert known["clickhouse"] <= set(SERVICES["clickhouse"]["environment"])


def xml(name: str) -> ET.Element:
    return ET.parse(SERVER / name).getroot()


def test_the_server_has_the_embedded_platforms_users_without_their_passwords() -> None:
    users = xml("users.xml").find("users")
    assert users is not None
    assert {user.tag for user in users if user.get("remove") is None} == {
        Settings().clickhouse_user,
        Settings().clickhouse_reader_user,
    }
    default = users.find("default")
    assert default is not None
    assert default.get("remove") == "remove"
    for password in users.iter("password"):
        assert password.get("from_env")
        assert not password.text


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    client = EngineClient(tmp_path_factory.mktemp("engine"))
    yield client
    client.close()


def test_the_server_is_of_the_embedded_engines_feature_release(engine: EngineClient) -> None:
    embedded = str(engine.query("SELECT version()").result_rows[0][0]).split(".")
    server = version_of(SERVICES["clickhouse"]["image"]).split(".")
    assert server[:2] == embedded[:2]
    assert int(server[2]) >= int(embedded[2]), "patches of it are for the server too"


def test_the_engine_knows_the_settings_and_grants_of_the_users(engine: EngineClient) -> None:
    def ask(sql: str) -> str:
        return str(engine.query(sql).result_rows[0][0])

    root = xml("users.xml")
    named = {setting.tag for profile in root.iterfind("profiles/*") for setting in profile} - {"constraints"}
    named |= {setting.tag for setting in root.iterfind("profiles/*/constraints/*")}
    listed = ", ".join(f"'{name}'" for name in sorted(named))
    assert int(ask(f"SELECT count() FROM system.settings WHERE name IN ({listed})")) == len(named)
    of_tables = [setting.tag for setting in xml("config.xml").iterfind("merge_tree/*")]
    listed = ", ".join(f"'{name}'" for name in of_tables)
    assert int(ask(f"SELECT count() FROM system.merge_tree_settings WHERE name IN ({listed})")) == len(of_tables)
    grants = [query.text or "" for query in root.iter("query")]
    assert grants
    for grant in grants:
        assert ask(f"SELECT formatQuery('{grant} TO reader')") == f"{grant} TO reader"
    reader = root.find("profiles/tocsin_reader/readonly")
    assert reader is not None
    assert reader.text == "2"


def test_grafana_may_tell_the_desk() -> None:
    services = filled(environment(WISHES[1], {}))["services"]
    grafana, desk = services["grafana"], services["desk"]
    url = urlsplit(grafana["environment"]["TOCSIN_GRAFANA_DESK_URL"])
    assert url.hostname in json.loads(desk["environment"]["TOCSIN_DESK_HOSTS"])
    assert url.hostname == "desk"
    assert str(url.port) == desk["command"][-1]
    assert set(grafana["networks"]) & set(desk["networks"])
    token = desk["environment"]["TOCSIN_GRAFANA_DESK_TOKEN"]
    assert token == grafana["environment"]["TOCSIN_GRAFANA_DESK_TOKEN"]
    assert token.startswith("tocsin_")


def test_relative_paths_lead_into_the_repository() -> None:
    values = environment(WISHES[1], {})
    folder = (COMPOSE_FILE.parent / values["CONFIG_FOLDER"]).resolve()
    for name in ("TOCSIN_ONCALL_FILE", "TOCSIN_PARTNERS_FILE"):
        inside = Path(SERVICES["ingest"]["environment"][name])
        assert inside.parent == Path("/etc/tocsin")
        assert (folder / inside.name).is_file()
