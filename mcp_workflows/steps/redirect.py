"""Where a redirect leads, and what of the request goes along (RFC 9110, 15.4)."""

from __future__ import annotations

from yarl import URL

from mcp_workflows.steps.guard import AddressBlocked
from mcp_workflows.steps.request import Request, origin

MAX_REDIRECTS = 5
STATUSES = frozenset({301, 302, 303, 307, 308})

ABOUT_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location", "idempotency-key"})
_TO_STRANGERS = frozenset({"user-agent", "accept", "accept-encoding", "content-type", "idempotency-key"})


class LocationInvalid(Exception):
    """The redirect leads nowhere."""


def becomes_get(method: str, status: int) -> bool:
    """The redirect asks for something else than the request made again: what was asked was dealt with."""
    return (status == 303 and method not in {"GET", "HEAD"}) or (status in {301, 302} and method == "POST")


def redirected(request: Request, status: int, location: str) -> Request:
    """The request of the next hop. To another origin go neither credentials nor any header of the author's.

    Raises ``LocationInvalid``, and ``AddressBlocked`` where a body that holds a secret would go to another origin.
    """
    try:
        url = request.url.join(URL(location)).with_fragment(None)
        url = url.with_user(None) if url.raw_user is not None or url.raw_password is not None else url
        same_origin = origin(url) == request.origin
    except ValueError:
        raise LocationInvalid("its Location cannot be read") from None
    headers = request.headers
    if not same_origin:
        headers = {name: value for name, value in headers.items() if name.lower() in _TO_STRANGERS}
    if becomes_get(request.method, status):
        headers = {name: value for name, value in headers.items() if name.lower() not in ABOUT_BODY}
        return request._replace(method="GET", url=url, headers=headers, body=None, secret_body=False)
    if request.secret_body and not same_origin:
        raise AddressBlocked(f'host "{url.host}" is another than the one that the body\'s secret is meant for')
    return request._replace(url=url, headers=headers)
