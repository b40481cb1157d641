"""Tokens that must never be taken: each is a good one but for one thing."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.identity.tokens import _name

KEY = b"k" * 31 + b"1"
OLD_KEY = b"o" * 31 + b"2"
SHOP = "main"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)

Json = Mapping[str, Any]


def part(value: bytes | str | Json) -> str:
    """Base64url, of JSON where it is no text already."""
    plain = json.dumps(value) if isinstance(value, Mapping) else value
    return (
        base64.urlsafe_b64encode(plain.encode() if isinstance(plain, str) else plain)
        .rstrip(b"=")
        .decode()
    )


def signed(head: str | Json, body: str | Json, key: bytes = KEY, name: str = "sha256") -> str:
    """A token of any header and claims, rightly signed with HMAC."""
    said = f"{part(head)}.{part(body)}"
    return f"{said}.{part(hmac.new(key, said.encode(), name).digest())}"


def header(key: bytes = KEY, **changed: Any) -> dict[str, Any]:
    return {"alg": "HS256", "kid": _name(key), "typ": "at+jwt", **changed}


def claims(now: datetime = NOW, **changed: Any) -> dict[str, Any]:
    at = int(now.timestamp())
    told = {"iss": "tillstream", "aud": SHOP, "sub": "u-1", "role": "admin", "sid": "s-1"}
    return {**told, "iat": at, "exp": at + 600, **changed}


def without(fields: Json, *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def genuine(now: datetime = NOW, key: bytes = KEY) -> str:
    return signed(header(key), claims(now), key)


def forgeries(now: datetime = NOW, key: bytes = KEY, other: bytes = OLD_KEY) -> dict[str, str]:
    """Tokens by what is wrong with them."""
    head, body, at = header(key), claims(now), int(now.timestamp())
    good = signed(head, body, key)
    h, b, s = good.split(".")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    rs = f"{part({**head, 'alg': 'RS256'})}.{b}"
    rs_signature = part(private.sign(rs.encode(), padding.PKCS1v15(), hashes.SHA256()))
    jwk = {"kty": "oct", "k": part(other)}
    twice = json.dumps(body)[:-1]

    def head_with(**changed: Any) -> str:
        return signed({**head, **changed}, body, key)

    def body_with(**changed: Any) -> str:
        return signed(head, {**body, **changed}, key)

    return {
        # What it is signed with.
        "alg none": f"{part({**head, 'alg': 'none'})}.{b}.",
        "alg None": f"{part({**head, 'alg': 'None'})}.{b}.",
        "alg none with a signature": f"{part({**head, 'alg': 'nOnE'})}.{b}.{s}",
        "no signature": f"{h}.{b}.",
        "signature of zeros": f"{h}.{b}.{part(bytes(32))}",
        "signature cut off": f"{h}.{b}.{s[:-4]}",
        "signature of another body": f"{h}.{part({**body, 'sub': 'u-2'})}.{s}",
        "another key": signed(header(other), body, other),
        "another key under our kid": signed(head, body, other),
        "an empty key": signed(head, body, b""),
        "the kid as the key": signed(head, body, _name(key).encode()),
        "RS256": f"{rs}.{rs_signature}",
        "RS256 key as HMAC secret": signed({**head, "alg": "HS256"}, body, public),
        "HS384": signed({**head, "alg": "HS384"}, body, key, "sha384"),
        "HS512": signed({**head, "alg": "HS512"}, body, key, "sha512"),
        "alg missing": signed(without(head, "alg"), body, key),
        "alg a list": head_with(alg=["HS256"]),
        "alg in small letters": head_with(alg="hs256"),
        # Headers that point to keys, or ask for more.
        "kid a path": head_with(kid="../../../dev/null"),
        "kid of SQL": head_with(kid="' OR '1'='1"),
        "kid missing": signed(without(head, "kid"), body, key),
        "kid a number": head_with(kid=1),
        "kid an object": head_with(kid={"a": 1}),
        "jku": head_with(jku="https://attacker.example/keys"),
        "x5u": head_with(x5u="https://attacker.example/cert"),
        "jwk": signed({**head, "jwk": jwk}, body, other),
        "x5c": head_with(x5c=["MII"]),
        "crit unknown": head_with(crit=["urn:x"], **{"urn:x": 1}),
        "crit empty": head_with(crit=[]),
        "b64 false": head_with(b64=False, crit=["b64"]),
        "zip": head_with(zip="DEF"),
        "cty nested": head_with(cty="JWT"),
        # Other kinds of tokens.
        "typ JWT": head_with(typ="JWT"),
        "typ missing": signed(without(head, "typ"), body, key),
        "typ of an id token": head_with(typ="id+jwt"),
        # Claims.
        "issuer another": body_with(iss="https://tillstream"),
        "issuer missing": signed(head, without(body, "iss"), key),
        "issuer a list": body_with(iss=["tillstream"]),
        "audience another": body_with(aud="other"),
        "audience missing": signed(head, without(body, "aud"), key),
        "audience several": body_with(aud=["main", "other"]),
        "expired": body_with(iat=at - 700, exp=at - 100),
        "expired this second": body_with(iat=at - 600, exp=at),
        "exp missing": signed(head, without(body, "exp"), key),
        "exp text": body_with(exp=str(at + 600)),
        "exp a fraction": body_with(exp=at + 600.5),
        "exp null": body_with(exp=None),
        "exp for ever": body_with(exp=at + 10**9),
        "exp beyond all numbers": signed(
            head, json.dumps(body).replace(str(at + 600), "1e999"), key
        ),
        "exp NaN": signed(head, json.dumps(body).replace(str(at + 600), "NaN"), key),
        "iat of the future": body_with(iat=at + 300, exp=at + 600),
        "iat missing": signed(head, without(body, "iat"), key),
        "iat true": body_with(iat=True),
        "nbf of the future": body_with(nbf=at + 300),
        "nbf text": body_with(nbf="soon"),
        "sub a number": body_with(sub=1),
        "sub empty": body_with(sub=""),
        "sub missing": signed(head, without(body, "sub"), key),
        "sub long": body_with(sub="u" * 200),
        "role unknown": body_with(role="root"),
        "role anyone": body_with(role="anyone"),
        "role of a key": body_with(role="writer"),
        "role a list": body_with(role=["admin"]),
        "role missing": signed(head, without(body, "role"), key),
        "sid null": body_with(sid=None),
        "unknown claim": body_with(scope="all"),
        # JSON.
        "role twice": signed(head, twice + ', "role": "admin"}', key),
        "exp twice": signed(head, f'{twice}, "exp": {at + 500}}}', key),
        "alg twice": signed(json.dumps(head)[:-1] + ', "alg": "HS256"}', body, key),
        "body a list": signed(head, "[1]", key),
        "body a text": signed(head, '"admin"', key),
        "body no JSON": signed(head, "{role: admin}", key),
        "body of UTF-16": f"{h}.{part(json.dumps(body).encode('utf-16'))}.{s}",
        "body deep": signed(head, "[" * 600 + "]" * 600, key),
        "header a list": signed("[]", body, key),
        # How it is written.
        "padded": f"{h}.{b}.{s}=",
        "not as base64url writes it": f"{h}.{b}.{_other_ending(s)}",
        "with a blank in it": f"{h}.{b[:5]} {b[5:]}.{s}",
        "with a line break": f"{h}.{b}.{s[:5]}\n{s[5:]}",
        "standard base64": f"{h}.{b}.{'+/' + s[2:]}",
        "four parts": f"{good}.{s}",
        "two parts": f"{h}.{b}",
        "of five parts, as JWE": f"{h}.{b}.{s}.{s}.{s}",
        "as JSON": json.dumps({"protected": h, "payload": b, "signature": s}),
        "huge": signed(head, {**body, "sub": "u" * 100_000}, key),
        "of dots": "..",
        "not ASCII": f"{h}.{b}.{s[:-1]}é",
    }


def _other_ending(signature: str) -> str:
    """The same bytes, with bits set that nobody reads."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(signature[-1])
    return signature[:-1] + letters[last ^ 1]
