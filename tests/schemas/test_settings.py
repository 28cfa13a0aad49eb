"""Settings from the environment, from files for secrets, and what is said of those that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.cli import main
from schemas.settings import Settings, SettingsError

SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "fiu-nl", "KAFKA_SASL_PASSWORD": "s3cret"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in SASL.items():
        monkeypatch.setenv(f"TOCSIN_{name}", value)
    return monkeypatch


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"KAFKA_SASL_USERNAME": ""}, "TOCSIN_KAFKA_SECURITY_PROTOCOL is SASL_SSL and TOCSIN_KAFKA_SASL_USERNAME is"),
        ({"KAFKA_SASL_PASSWORD": ""}, "is SASL_SSL and TOCSIN_KAFKA_SASL_PASSWORD is empty"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "TOCSIN_KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT', 'SSL'"),
        ({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "TOCSIN_KAFKA_SASL_USERNAME is set, and with .* nobody logs in"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SSL_CA_LOCATION": __file__},
            "with TOCSIN_KAFKA_SECURITY_PROTOCOL SASL_PLAINTEXT nothing is encrypted: make it SASL_SSL",
        ),
        ({"KAFKA_SSL_CA_LOCATION": "/no/ca.pem"}, "TOCSIN_KAFKA_SSL_CA_LOCATION: /no/ca.pem cannot be read: No such"),
        ({"KAFKA_SSL_CERTIFICATE_LOCATION": __file__}, "TOCSIN_KAFKA_SSL_KEY_LOCATION belong together"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "TOCSIN_KAFKA_SASL_MECHANISM: Input should be 'SCRAM-SHA-512'"),
        ({"KAFKA_SASL_PASSWORD_FILE": "/no/password"}, "PASSWORD and TOCSIN_KAFKA_SASL_PASSWORD_FILE are both set"),
        ({"CLICKHOUSE_PASSWORD_FILE": "/no/password"}, "TOCSIN_CLICKHOUSE_PASSWORD_FILE: /no/password cannot be read"),
        ({"CLICKHOUSE_URL": "https://a:b@store.example"}, "TOCSIN_CLICKHOUSE_URL: user and password do not belong"),
        ({"OIDC_ROLES": "{soc: analyst}"}, "oidc_roles.* must be JSON"),
    ],
)
def test_a_mistake_is_told_with_its_variable_and_without_its_secret(
    given: pytest.MonkeyPatch, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    for name, value in changed.items():
        given.setenv(f"TOCSIN_{name}", value)
    with pytest.raises(SettingsError, match=said) as refused:
        Settings.load(tmp_path)
    assert "s3cret" not in str(refused.value)


def test_the_command_says_it_in_one_line(
    given: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given.setenv("TOCSIN_KAFKA_SASL_USERNAME", "")
    given.setattr(sys, "argv", ["tocsin", "topics", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "tocsin: TOCSIN_KAFKA_SECURITY_PROTOCOL is SASL_SSL and TOCSIN_KAFKA_SASL_USERNAME is empty\n"
    )


def test_secrets_are_read_from_files_and_never_shown(given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given.delenv("TOCSIN_KAFKA_SASL_PASSWORD")
    for name in ("KAFKA_SASL_PASSWORD", "CLICKHOUSE_PASSWORD", "REGISTRY_PASSWORD"):
        (tmp_path / name).write_text(f"of {name} \n")
        given.setenv(f"TOCSIN_{name}_FILE", str(tmp_path / name))
    (tmp_path / "endpoints.json").write_text('{"clickhouse_password": "of the platform that runs here"}')
    found = Settings.load(tmp_path)
    assert found.kafka_sasl_password == "of KAFKA_SASL_PASSWORD ", "all but the end of the line"
    assert found.clickhouse_password == "of CLICKHOUSE_PASSWORD ", "as a variable, before what runs here"
    assert found.registry_password == "of REGISTRY_PASSWORD "
    assert "of KAFKA" not in repr(found)


def test_a_login_in_the_registrys_address_is_taken_out_of_it(given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given.setenv("TOCSIN_REGISTRY_URL", "https://fiu-nl:p%40ss@registry.example:8443/apis/ccompat/v7")
    found = Settings.load(tmp_path)
    assert found.registry_url == "https://registry.example:8443/apis/ccompat/v7"
    assert (found.registry_user, found.registry_password) == ("fiu-nl", "p@ss")
