"""Everything in Grafana besides the dashboards: data source, folder, contact point, policy; and the files of all that.

``$NAME`` in a file is a variable of Grafana's environment. The API has no such thing: sync puts the values in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from dashboards.grafana import alert_rules
from dashboards.grafana.model import DATASOURCE, Json

FOLDER: Final = "Tocsin"
FOLDER_UID: Final = "tocsin"
CONTACT_POINT: Final = "Tocsin"
CONTACT_POINT_UID: Final = "tocsin-desk"
WEBHOOK_PATH: Final = "/api/v1/platform-alerts"


def data_source(host: str, port: str | int, user: str, database: str, *, secure: bool = False) -> Json:
    """The data source without its password. Dashboards ask for it by uid, so that another may be the default."""
    return {
        "name": "Tocsin",
        "uid": DATASOURCE["uid"],
        "type": DATASOURCE["type"],
        "access": "proxy",
        "isDefault": False,
        "jsonData": {
            # Plugin 4.x reads host, 3.x reads server.
            "host": host,
            "server": host,
            "port": port,
            "protocol": "http",
            "secure": secure,
            "username": user,
            "defaultDatabase": database,
            "dialTimeout": "10",
            "queryTimeout": "30",
        },
    }


def webhook(desk_url: str) -> Json:
    """Settings of the contact point without its token; ``desk_url`` is the desk's address as Grafana reaches it."""
    return {"url": f"{desk_url.rstrip('/')}{WEBHOOK_PATH}", "httpMethod": "POST", "authorization_scheme": "Bearer"}


def timing() -> Json:
    """How alerts are put together: one message a rule, soon; said again every four hours."""
    return {
        "receiver": CONTACT_POINT,
        "group_by": ["grafana_folder", "alertname"],
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "4h",
    }


def route() -> Json:
    """The branch of the notification policies that takes the alerts of our rules."""
    name, value = alert_rules.OWN_LABEL
    return timing() | {"object_matchers": [[name, "=", value]]}


def files() -> dict[Path, str]:
    """Every YAML file below ``provisioning``, by its path there."""
    source = data_source(
        "$TOCSIN_CLICKHOUSE_HOST",
        "$TOCSIN_CLICKHOUSE_PORT",
        "$TOCSIN_CLICKHOUSE_READER_USER",
        "$TOCSIN_CLICKHOUSE_DATABASE",
    )
    source |= {"editable": False, "secureJsonData": {"password": "$TOCSIN_CLICKHOUSE_READER_PASSWORD"}}
    provider = {
        "name": "tocsin",
        "orgId": 1,
        "folder": FOLDER,
        "type": "file",
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 10,
        "options": {"path": "$TOCSIN_GRAFANA_PROVISIONING/dashboards/json"},
    }
    receiver = {
        "uid": CONTACT_POINT_UID,
        "type": "webhook",
        "settings": webhook("$TOCSIN_GRAFANA_DESK_URL") | {"authorization_credentials": "$TOCSIN_GRAFANA_DESK_TOKEN"},
    }
    contact_point = {"orgId": 1, "name": CONTACT_POINT, "receivers": [receiver]}
    return {
        Path("datasources/tocsin.yaml"): _file(_DATA_SOURCE, datasources=[source]),
        Path("dashboards/tocsin.yaml"): _file(_PROVIDER, providers=[provider]),
        Path("alerting/rules.yaml"): _file(_RULES, groups=[alert_rules.file_group(FOLDER)]),
        Path("alerting/contact_point.yaml"): _file(_CONTACT_POINT, contactPoints=[contact_point]),
        Path("alerting/policy.yaml"): _file(_POLICY, policies=[{"orgId": 1} | timing()]),
    }


def stale(folder: Path) -> list[Path]:
    """YAML files below ``folder`` that are missing, differ from what the code builds, or that no code builds."""
    built = {folder / path: text for path, text in files().items()}
    differing = [path for path, text in built.items() if not path.is_file() or path.read_text() != text]
    return differing + [path for path in sorted(folder.rglob("*.yaml")) if path not in built]


def write(folder: Path) -> None:
    """Make the YAML files below ``folder`` those that the code builds: write each, remove the others.

    Raises:
        OSError: the folder cannot be written.
    """
    built = {folder / path: text for path, text in files().items()}
    for path in folder.rglob("*.yaml"):
        if path not in built:
            path.unlink()
    for path, text in built.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


_DATA_SOURCE: Final = """\
The store, read with a user that cannot write. Variables: TOCSIN_CLICKHOUSE_HOST, TOCSIN_CLICKHOUSE_PORT (HTTP),
TOCSIN_CLICKHOUSE_DATABASE, TOCSIN_CLICKHOUSE_READER_USER, TOCSIN_CLICKHOUSE_READER_PASSWORD."""
_PROVIDER: Final = """\
The dashboards beside this file. TOCSIN_GRAFANA_PROVISIONING is the folder that holds `dashboards`, for example
/etc/grafana/provisioning."""
_RULES: Final = "Alert rules about the platform itself, all with the label tocsin=platform."
_CONTACT_POINT: Final = """\
The desk takes these alerts. TOCSIN_GRAFANA_DESK_URL is its address as Grafana reaches it (http://127.0.0.1:8090; the
host must be among the desk's TOCSIN_DESK_HOSTS), TOCSIN_GRAFANA_DESK_TOKEN a token of the scope report:
tocsin accounts add grafana --role watch_officer --machine; tocsin accounts token grafana --scope report --expires 365d
Who is to hear of a missing watchdog when Tocsin cannot tell: add a receiver, of type email for example."""
_POLICY: Final = """\
This is the whole tree of notification policies: it sends every alert of this Grafana to the desk. Leave this file out
where others have alerts too, and send tocsin=platform to the contact point Tocsin, or use: tocsin dashboards sync"""


class _Dumper(yaml.SafeDumper):
    """Queries as blocks of lines; no anchors, which a reader has to follow."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _file(comment: str, **content: object) -> str:
    head = "".join(f"# {line}\n" for line in [*comment.splitlines(), "Built by: tocsin dashboards build"])
    return head + yaml.dump({"apiVersion": 1} | content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
