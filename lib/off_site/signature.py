"""AWS Signature Version 4, as every S3-compatible store reads it: what `S3SigV4Auth` of botocore makes, for the calls made here.

Written by hand: the clients that can ask for versioning and object lock bring 20 MB, threads and a python-dateutil of their own
(docs/decisions). A test compares each signature with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The hash of a request without a body."""
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def signed(
    method: str,
    url: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    body_sha256: str,
    key_id: str,
    secret: str,
    region: str,
    at: datetime,
) -> dict[str, str]:
    """The headers of a request, those that sign it among them.

    Args:
        method: GET, PUT ...
        url: scheme, host, and the path in the characters that need no quoting.
        query: its parameters; a name alone has the value "".
        headers: further ones, all of which are signed.
        body_sha256: of the whole body, hexadecimal.
        key_id: of the access key.
        secret: of the access key.
        region: of the bucket.
        at: now, in UTC; a store refuses what is a quarter of an hour off.
    """
    moment, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
    parts = urlsplit(url)
    sent = {"host": parts.netloc, "x-amz-content-sha256": body_sha256, "x-amz-date": moment}
    sent |= {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = ";".join(sorted(sent))
    request = "\n".join(
        [
            method,
            parts.path or "/",
            query_text(query),
            *(f"{name}:{sent[name]}" for name in sorted(sent)),
            "",
            names,
            body_sha256,
        ]
    )
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    sent["authorization"] = f"{_ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return sent


def query_text(query: Mapping[str, str]) -> str:
    """The query as it is signed, and therefore as it must be sent."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
