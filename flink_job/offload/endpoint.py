"""Where Lambda is and who calls it: what boto3 finds in arguments, environment and profile.

A local endpoint asks for none of that: calls to it work whatever the environment says, and never
go through a proxy.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials

_LOCAL_REGION = "us-east-1"
_LOCAL_KEY = "local"


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of the Lambda API and what it takes to call it.

    Attributes:
        url: scheme, host, port where it is not the scheme's own, path where there is one.
        service: the name that requests are signed for.
        credentials: those that renew themselves do so when they are asked; None if there are none.
        ca_bundle: file of the certificates to trust; None for botocore's own.
        local: on this machine or a private address: no proxy stands before it.
    """

    url: str
    region: str
    service: str
    credentials: Credentials | None
    ca_bundle: str | None
    local: bool


def resolve(endpoint_url: str | None, region: str | None) -> Endpoint:
    """The endpoint that boto3 would call, with the credentials that it would sign with.

    Args:
        endpoint_url: None for the one that boto3 would take.
        region: None for the one that boto3 would take.

    Raises:
        BotoCoreError: no region, a profile that does not exist, …; never with a local endpoint.
        ValueError: the endpoint is no URL.
    """
    if endpoint_url and is_local(endpoint_url):
        credentials = Credentials(_LOCAL_KEY, _LOCAL_KEY)
        return Endpoint(
            endpoint_url, region or _LOCAL_REGION, "lambda", credentials, None, local=True
        )
    session = botocore.session.get_session()
    client = session.create_client("lambda", region_name=region, endpoint_url=endpoint_url)
    url = str(client.meta.endpoint_url)
    ca_bundle = session.get_config_variable("ca_bundle") or os.environ.get(
        "REQUESTS_CA_BUNDLE", os.environ.get("CURL_CA_BUNDLE")
    )
    endpoint = Endpoint(
        url,
        str(client.meta.region_name),
        str(client.meta.service_model.signing_name),
        session.get_credentials(),
        ca_bundle or None,
        is_local(url),
    )
    client.close()
    return endpoint


def lambda_api(
    endpoint_url: str | None,
    region: str | None,
    timeout_s: float = 60.0,
    connections: int = 10,
    attempts: int = 1,
) -> Any:
    """boto3's client of the Lambda API. Of itself it never retries, since a retry of Invoke repeats
    the work.

    Args:
        attempts: at a request in all, by botocore's own rules of what is worth another.
        endpoint_url, region: see `resolve`.
        timeout_s: bound on connecting and on each wait for more of the answer, in seconds.
        connections: connections kept open, that is calls in flight at once.

    Raises:
        BotoCoreError, ValueError: see `resolve`.
    """
    options: dict[str, Any] = {
        "connect_timeout": timeout_s,
        "read_timeout": timeout_s,
        "max_pool_connections": connections,
        "retries": {"total_max_attempts": attempts, "mode": "standard"},
        "tcp_keepalive": True,
    }
    local: dict[str, Any] = {}
    if endpoint_url and is_local(endpoint_url):
        # No profile, no configuration file; but boto3 signs every request.
        session = botocore.session.Session(
            {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
        )
        region = region or _LOCAL_REGION
        local = {"aws_access_key_id": _LOCAL_KEY, "aws_secret_access_key": _LOCAL_KEY}
        options |= {"proxies": {}, "use_fips_endpoint": False, "use_dualstack_endpoint": False}
    else:
        session = botocore.session.get_session()
    return boto3.Session(botocore_session=session).client(
        "lambda", region, endpoint_url=endpoint_url, config=Config(**options), **local
    )


def is_local(url: str) -> bool:
    """Whether a URL's host is this machine, or an address of a private network.

    Raises:
        ValueError: it is no URL of a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an endpoint; it must be like http://HOST:PORT")
    host = parts.hostname
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
