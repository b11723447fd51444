"""Run by .venv-store: reads requests as JSON from standard input and writes each one's `authorization`, as botocore signs it."""

from __future__ import annotations

import json
import sys
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials


class _At(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
    """At a given moment, with the hash that the request has."""

    def __init__(self, one: dict[str, Any]) -> None:
        super().__init__(botocore.credentials.Credentials(one["key_id"], one["secret"]), "s3", one["region"])
        self._one = one

    def payload(self, _request: Any) -> Any:
        return self._one["body_sha256"]

    def add_auth(self, request: Any) -> None:
        request.context["timestamp"] = self._one["at"]
        request.headers["X-Amz-Date"] = self._one["at"]
        request.headers["X-Amz-Content-SHA256"] = self._one["body_sha256"]
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))


def main() -> None:
    found = []
    for one in json.load(sys.stdin):
        request = botocore.awsrequest.AWSRequest(one["method"], one["url"], headers=one["headers"], params=one["query"])
        _At(one).add_auth(request)
        found.append(request.headers["Authorization"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
