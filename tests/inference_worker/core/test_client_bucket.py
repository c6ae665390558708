"""Where ``s3Config`` leads."""

from typing import Any

import pytest

from inference_worker.core.client_bucket import BadBucket, bucket_of, region_of

CONFIG = {
    "accessId": "AKIA123",
    "accessSecret": "hush/hush+hush",
    "bucketName": "clips",
    "endpointUrl": "https://s3.eu-central-1.amazonaws.com",
}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (None, "job-1.mp4"),
        ("", "job-1.mp4"),
        ("/", "job-1.mp4"),
        ("videos/", "videos/job-1.mp4"),
        ("/a/b/", "a/b/job-1.mp4"),
        ("a/clip.mov", "a/clip.mov"),
        ("clip", "clip"),
        ("a b+c@d=e&f?g#h%20", "a%20b%2Bc%40d%3De%26f%3Fg%23h%2520"),
        ("häuser/☃.mp4", "h%C3%A4user/%E2%98%83.mp4"),
        ("..a/b..", "..a/b.."),
        ("a//b", "a//b"),
        ("x" * 1024, "x" * 1024),
    ],
)
def test_the_file_goes_where_object_path_says(path: str | None, key: str) -> None:
    found = bucket_of(CONFIG | {"objectPath": path}, "job-1")
    assert found.url == f"https://s3.eu-central-1.amazonaws.com/clips/{key}"


def test_an_endpoint_that_names_the_bucket_is_not_given_it_again() -> None:
    of_bucket = CONFIG | {"endpointUrl": "https://clips.s3.us-west-2.amazonaws.com/"}
    assert bucket_of(of_bucket, "j").url == "https://clips.s3.us-west-2.amazonaws.com/j.mp4"
    loud = CONFIG | {"endpointUrl": "HTTPS://Clips.S3.amazonaws.COM"}
    assert bucket_of(loud, "j").url == "https://clips.s3.amazonaws.com/j.mp4"
    behind = CONFIG | {"endpointUrl": "https://storage.example.org:9000/s3/"}
    assert bucket_of(behind, "j").url == "https://storage.example.org:9000/s3/clips/j.mp4"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.amazonaws.com", "us-east-1"),
        ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("clips.s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("clips.s3-us-west-2.amazonaws.com", "us-west-2"),
        ("s3.dualstack.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("s3.eu-central-2.wasabisys.com", "eu-central-2"),
        ("s3api-eu-ro-1.runpod.io", "eu-ro-1"),
        ("s3.fr-par.scw.cloud", "fr-par"),
        ("nyc3.digitaloceanspaces.com", "nyc3"),
        ("clips.fra1.digitaloceanspaces.com", "fra1"),
        ("us-east-1.linodeobjects.com", "us-east-1"),
        ("abcdef0123.r2.cloudflarestorage.com", "us-east-1"),
        ("storage.googleapis.com", "us-east-1"),
        ("localhost", "us-east-1"),
        ("127.0.0.1", "us-east-1"),
        ("", "us-east-1"),
    ],
)
def test_regions_are_read_from_the_hosts_of_providers(host: str, region: str) -> None:
    assert region_of(host) == region


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"accessId": ""}, "accessId"),
        ({"accessId": None}, "accessId"),
        ({"accessId": "a\r\nx-evil: 1"}, "accessId"),
        ({"accessSecret": 7}, "accessSecret"),
        ({"accessSecret": "x" * 513}, "accessSecret"),
        ({"bucketName": ".."}, "bucketName"),
        ({"bucketName": "x" * 256}, "bucketName"),
        ({"bucketName": "../other"}, "bucketName"),
        ({"bucketName": "clips?acl"}, "bucketName"),
        ({"endpointUrl": None}, "endpointUrl"),
        ({"endpointUrl": "https://host/?x="}, "endpointUrl"),
        ({"endpointUrl": "https://host#"}, "endpointUrl"),
        ({"endpointUrl": "https://[::1"}, "endpointUrl"),
        ({"endpointUrl": "https://hóst"}, "endpointUrl"),
        ({"objectPath": 7}, "objectPath"),
        ({"objectPath": ["a"]}, "objectPath"),
        ({"objectPath": "a/../b"}, "objectPath"),
        ({"objectPath": "a/./b"}, "objectPath"),
        ({"objectPath": "a\nb"}, "objectPath"),
        ({"objectPath": "x" * 1025}, "objectPath"),
        ({"objectPath": "\ud800"}, "objectPath"),
    ],
)
def test_what_makes_no_sense_is_named_and_not_quoted(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(BadBucket) as refused:
        bucket_of(CONFIG | changes, "job-1")
    assert str(refused.value) == f"has no valid {named}"


@pytest.mark.parametrize("config", [None, "s3", 7, [], [CONFIG]])
def test_what_is_no_object(config: Any) -> None:
    with pytest.raises(BadBucket, match="must be an object"):
        bucket_of(config, "job-1")


def test_no_secret_is_shown() -> None:
    shown = repr(bucket_of(CONFIG, "job-1"))
    assert CONFIG["accessSecret"] not in shown
    assert CONFIG["accessId"] not in shown
