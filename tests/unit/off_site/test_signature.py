"""Signatures of calls to a store: by the example that AWS publishes; tests/integration/off_site compares them with botocore's."""

from __future__ import annotations

from datetime import UTC, datetime

from lib.off_site import signature


def test_the_published_example_of_a_get() -> None:
    """Amazon S3 API reference, Signature Calculations: GET Object."""
    headers = signature.signed(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {},
        {"Range": "bytes=0-9"},
        body_sha256=signature.NOTHING,
        key_id="AKIAIOSFODNN7EXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        " SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        " Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_the_published_examples_of_a_bucket() -> None:
    """As above: GET Bucket Lifecycle, a parameter without a value, and GET Bucket (List Objects)."""
    for query, expected in (
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ({"prefix": "J", "max-keys": "2"}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ):
        headers = signature.signed(
            "GET",
            "https://examplebucket.s3.amazonaws.com/",
            query,
            {},
            body_sha256=signature.NOTHING,
            key_id="AKIAIOSFODNN7EXAMPLE",
            secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region="us-east-1",
            at=datetime(2013, 5, 24, tzinfo=UTC),
        )
        assert headers["authorization"].endswith(f"Signature={expected}")
