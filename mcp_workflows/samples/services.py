"""The five sample services: what they offer is what the definitions in ``definitions/`` and ``examples/`` ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp_workflows.samples.service import Answer, Ask, Service, lacking

PRICES: Final = {"free": 0, "pro": 4900, "enterprise": 49000}
"""In cents."""

PORTS: Final = {"crm": 8900, "billing": 8901, "mail": 8902, "shop": 8903, "platform": 8904}
"""Where each service is expected by the definitions when nobody says otherwise."""

BILLING_TOKEN: Final = "sample-token"  # noqa: S105 (a made-up token of a sample service on loopback)


def variables(urls: Mapping[str, str]) -> dict[str, str]:
    """The settings that point definitions at services, from each service's URL: ``{"CRM_URL": …}``."""
    return {f"{name.upper()}_URL": url for name, url in urls.items()}


def all_services() -> dict[str, Service]:
    """Every service by name, with empty books."""
    made = [_crm(), _billing(), _mail(), _shop(), _platform()]
    return {service.name: service for service in made}


def _crm() -> Service:
    crm = Service("crm")

    def create(ask: Ask) -> Answer:
        return lacking(ask, "email", "plan") or Answer(201, crm.add("accounts", "a", ask.body))

    def export(ask: Ask) -> Answer:
        name = f"export.{ask.body.get('format', 'csv')}"
        entry = {"state": "done", "url": f"http://files.example/{name}", "rows": len(crm.present("accounts"))}
        return Answer(202, crm.add("exports", "x", entry))

    def shown(ask: Ask) -> Answer:
        entry = crm.books.get("exports", {}).get(ask.parts["id"])
        return Answer(200, entry) if entry else Answer(404, {"error": "no such export"})

    crm.route("GET", "/accounts/count", lambda _: Answer(200, {"count": len(crm.present("accounts"))}))
    crm.route("POST", "/accounts", create)
    crm.route("DELETE", "/accounts/{id}", lambda ask: crm.remove("accounts", ask.parts["id"]))
    crm.route("POST", "/exports", export)
    crm.route("GET", "/exports/{id}", shown)
    crm.route("DELETE", "/exports/{id}", lambda ask: crm.remove("exports", ask.parts["id"]))
    return crm


def _billing() -> Service:
    billing = Service("billing")

    def charge(ask: Ask) -> Answer:
        if refusal := lacking(ask, "account", "plan"):
            return refusal
        amount = PRICES.get(ask.body["plan"], 0)
        return Answer(201, billing.add("charges", "c", {**ask.body, "amount": amount, "key": ask.key}))

    def refund(ask: Ask) -> Answer:
        charges = billing.books.get("charges", {}).values()
        meant = [one for one in charges if one["key"] == ask.body.get("charge_key")]
        if not meant:
            return Answer(404, {"error": "nothing was charged with that key"})
        return Answer(201, billing.add("refunds", "f", {"charge": meant[0]["id"], "amount": meant[0]["amount"]}))

    def order(ask: Ask) -> Answer:
        refunds = billing.books.get("order_refunds", {}).values()
        refunded = sum(one["amount"] for one in refunds if one["order"] == ask.parts["id"])
        total, email = 12_000, "buyer@example.com"
        return Answer(200, {"id": ask.parts["id"], "email": email, "total": total, "refunded": refunded})

    def book(ask: Ask) -> Answer:
        entry = {"order": ask.parts["id"], **ask.body}
        return lacking(ask, "payout", "amount") or Answer(201, billing.add("order_refunds", "r", entry))

    def payout(ask: Ask) -> Answer:
        if ask.headers.get("authorization") != f"Bearer {BILLING_TOKEN}":
            return Answer(401, {"error": "wants Authorization: Bearer"})
        return lacking(ask, "order", "amount") or Answer(201, billing.add("payouts", "p", ask.body))

    billing.route("POST", "/charges", charge)
    billing.route("POST", "/refunds", refund)
    billing.route("GET", "/orders/{id}", order)
    billing.route("POST", "/orders/{id}/refunds", book)
    billing.route("POST", "/payouts", payout)
    return billing


def _mail() -> Service:
    mail = Service("mail")

    def send(ask: Ask) -> Answer:
        return lacking(ask, "to", "template") or Answer(202, mail.add("messages", "m", ask.body))

    mail.route("POST", "/messages", send)
    return mail


def _shop() -> Service:
    shop = Service("shop")

    def reserve(ask: Ask) -> Answer:
        return lacking(ask, "orderId") or Answer(201, shop.add("reservations", "r", ask.body))

    def charge(ask: Ask) -> Answer:
        entry = {**ask.body, "key": ask.key}
        return lacking(ask, "orderId", "amount") or Answer(201, shop.add("charges", "c", entry))

    def release(ask: Ask) -> Answer:
        gone = shop.remove("reservations", str(ask.body.get("reservationId")))
        return gone if gone.status == 404 else Answer(200, {"released": True})

    def refund(ask: Ask) -> Answer:
        meant = [one for one in shop.present("charges") if one["key"] == ask.body.get("chargeKey")]
        if not meant:
            return Answer(404, {"error": "nothing was charged with that key"})
        shop.remove("charges", meant[0]["id"])
        return Answer(200, {"refunded": True})

    def book(ask: Ask) -> Answer:
        status = ask.query.get("status", "200")
        if not status.isdecimal() or not 200 <= int(status) <= 599:
            return Answer(422, {"error": "status must be 200 or 201"})
        if int(status) >= 300:
            return Answer(int(status), {"error": "as asked for"})
        return Answer(int(status), shop.add("shipments", "s", ask.body))

    shop.route("POST", "/inventory/reserve", reserve)
    shop.route("POST", "/inventory/release", release)
    shop.route("POST", "/payments/charge", charge)
    shop.route("POST", "/payments/refund", refund)
    shop.route("POST", "/shipping/book", book)
    return shop


def _platform() -> Service:
    platform = Service("platform")

    def find(ask: Ask) -> Answer:
        name = ask.query.get("name")
        return Answer(200, {"items": [one for one in platform.present("workspaces") if one["name"] == name]})

    def create(ask: Ask) -> Answer:
        name = ask.body.get("name")
        entry = {**ask.body, "url": f"https://{name}.example.com", "state": "ready"}
        return lacking(ask, "name", "owner") or Answer(201, platform.add("workspaces", "w", entry))

    def shown(ask: Ask) -> Answer:
        entry = platform.books.get("workspaces", {}).get(ask.parts["id"])
        return Answer(200, entry) if entry else Answer(404, {"error": "no such workspace"})

    def database(ask: Ask) -> Answer:
        return lacking(ask, "workspace") or Answer(201, platform.add("databases", "d", ask.body))

    def member(ask: Ask) -> Answer:
        entry = {"workspace": ask.parts["workspace"], **ask.body}
        return lacking(ask, "email") or Answer(201, platform.add("members", "u", entry))

    platform.route("GET", "/workspaces", find)
    platform.route("POST", "/workspaces", create)
    platform.route("GET", "/workspaces/{id}", shown)
    platform.route("DELETE", "/workspaces/{id}", lambda ask: platform.remove("workspaces", ask.parts["id"]))
    platform.route("POST", "/databases", database)
    platform.route("DELETE", "/databases/{id}", lambda ask: platform.remove("databases", ask.parts["id"]))
    platform.route("POST", "/workspaces/{workspace}/members", member)
    platform.route(
        "DELETE",
        "/workspaces/{workspace}/members/{id}",
        lambda ask: platform.remove("members", ask.parts["id"]),
    )
    return platform
