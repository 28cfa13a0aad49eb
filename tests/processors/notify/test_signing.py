"""Signatures of webhooks: the right one verifies, and no other does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.notify.signing import sign, verify


def test_a_known_signature() -> None:
    # printf '1772366400.{"a":1}' | openssl dgst -sha256 -hmac invented
    assert sign("invented", "1772366400", b'{"a":1}') == KNOWN


KNOWN = "sha256=c4e307e9f33f54aaac60996e695c9ac1244e0085786c437da904ca69454d24b8"


@given(st.text(), st.integers(0, 2**40).map(str), st.binary(min_size=1), st.data())
def test_a_changed_byte_does_not_verify(secret: str, timestamp: str, body: bytes, data: st.DataObject) -> None:
    secret = secret.encode(errors="ignore").decode()
    signature = sign(secret, timestamp, body)
    assert verify(secret, timestamp, body, signature)
    place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    changed = body[:place] + bytes([body[place] ^ (1 << bit)]) + body[place + 1 :]
    assert not verify(secret, timestamp, changed, signature)
    assert not verify(secret, str(int(timestamp) + 1), body, signature)
    assert not verify(f"{secret}x", timestamp, body, signature)


@given(st.text())
def test_what_is_no_signature_does_not_verify(signature: str) -> None:
    assert not verify("invented", "1772366400", b"{}", signature)


def test_an_old_request_is_refused_where_the_time_is_known() -> None:
    signature = sign("invented", "1000", b"{}")
    assert verify("invented", "1000", b"{}", signature, now=1300.0)
    assert not verify("invented", "1000", b"{}", signature, now=1301.0)
    assert not verify("invented", "1000", b"{}", signature, now=699.0)
    assert verify("invented", "1000", b"{}", signature, now=1600.0, tolerance_s=600)
    word = sign("invented", "soon", b"{}")
    assert not verify("invented", "soon", b"{}", word, now=1000.0)
