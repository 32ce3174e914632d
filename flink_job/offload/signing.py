"""Signature Version 4: botocore signs once a second, and only the bodies of that second are ours.

A signature has a date of whole seconds. All else that goes into it but the body is the same from
call to call, and most of what signing costs; so botocore's signature of an empty body is kept, and
what hangs on the body is worked out anew. Tests hold the outcome against botocore's, bit by bit.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials


@dataclass(frozen=True, slots=True)
class Template:
    """A signed POST of a second, all but its body.

    Attributes:
        headers: those to send, but `Authorization`, which is `authorization` and a signature.
        canonical: the canonical request up to the hash of the body.
        to_sign: the string to sign up to the hash of the canonical request.
        key: by which it is signed.
    """

    headers: dict[str, str]
    authorization: str
    canonical: bytes
    to_sign: bytes
    key: bytes = field(repr=False)

    def signature(self, body: bytes) -> str:
        """The signature that the request has with this body."""
        hashed = hashlib.sha256(body).hexdigest().encode()
        request = hashlib.sha256(self.canonical + hashed).hexdigest().encode()
        return hmac.digest(self.key, self.to_sign + request, "sha256").hex()


def template(
    url: str, headers: dict[str, str], credentials: ReadOnlyCredentials, service: str, region: str
) -> Template:
    """What botocore signs now for a POST to `url`, which has no query."""
    request = AWSRequest("POST", url, headers, b"")
    signer = SigV4Auth(credentials, service, region)
    signer.add_auth(request)
    authorization = request.headers["Authorization"].rpartition("=")[0] + "="
    del request.headers["Authorization"]
    canonical = signer.canonical_request(request)
    to_sign = signer.string_to_sign(request, canonical)
    key = f"AWS4{credentials.secret_key}".encode()
    for part in signer.credential_scope(request).split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return Template(
        dict(request.headers.items()),
        authorization,
        _up_to_the_hash(canonical),
        _up_to_the_hash(to_sign),
        key,
    )


def _up_to_the_hash(text: str) -> bytes:
    """All lines but the last."""
    return text[: text.rindex("\n") + 1].encode()
