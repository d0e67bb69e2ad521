"""The sample services: what they offer is what the definitions in ``definitions/`` and ``examples/`` ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp_workflows.samples.documents import documents
from mcp_workflows.samples.incidents import incidents
from mcp_workflows.samples.service import Answer, Ask, Service, lacking, page_of
from mcp_workflows.samples.trade import catalogue, orders_of, supplier

PRICES: Final = {"free": 0, "pro": 4900, "enterprise": 49000}
"""In cents."""

PORTS: Final = {
    "crm": 8900,
    "billing": 8901,
    "mail": 8902,
    "shop": 8903,
    "platform": 8904,
    "documents": 8905,
    "supplier": 8906,
    "catalogue": 8907,
    "incidents": 8908,
}
"""Where each service is expected by the definitions when nobody says otherwise."""

BILLING_TOKEN: Final = "sample-token"  # noqa: S105 (a made-up token of a sample service on loopback)


def variables(urls: Mapping[str, str]) -> dict[str, str]:
    """The settings that point definitions at services, from each service's URL: ``{"CRM_URL": …}``."""
    return {f"{name.upper()}_URL": url for name, url in urls.items()}


def all_services() -> dict[str, Service]:
    """Every service by name, with empty books."""
    made = [
        *(_crm(), _billing(), _mail(), _shop(), _platform()),
        *(documents(), supplier(), catalogue(), incidents()),
    ]
    return {service.name: service for service in made}


def _crm() -> Service:
    crm = Service("crm")

    def create(ask: Ask) -> Answer:
        return lacking(ask, "email", "plan") or Answer(201, crm.add("accounts", "a", ask.body))

    def export(ask: Ask) -> Answer:
        name = f"export.{ask.body.get('format', 'csv')}"
        entry = {"state": "running", "url": f"http://files.example/{name}", "rows": len(crm.present("accounts"))}
        begun = crm.add("exports", "x", entry)
        return Answer(202, begun, {"Location": f"/exports/{begun['id']}", "Retry-After": "1"})

    def exported(ask: Ask) -> Answer:
        """Done by the first time that somebody asks."""
        return crm.change("exports", ask.parts["id"], state="done")

    crm.route("GET", "/accounts/count", lambda _: Answer(200, {"count": len(crm.present("accounts"))}))
    crm.route("GET", "/accounts", lambda ask: page_of(crm.present("accounts"), ask))
    crm.route("GET", "/accounts/{id}", lambda ask: crm.shown("accounts", ask.parts["id"]))
    crm.route("POST", "/accounts", create)
    crm.route("PATCH", "/accounts/{id}", lambda ask: crm.change("accounts", ask.parts["id"], **ask.body))
    crm.route("DELETE", "/accounts/{id}", lambda ask: crm.remove("accounts", ask.parts["id"]))
    crm.route("POST", "/exports", export)
    crm.route("GET", "/exports/{id}", exported)
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

    def charges(ask: Ask) -> Answer:
        of_account = [one for one in billing.present("charges") if one["account"] == ask.parts["id"]]
        return Answer(200, {"items": of_account})

    def payable(ask: Ask) -> Answer:
        return lacking(ask, "supplier", "number", "total") or Answer(201, billing.add("payables", "b", ask.body))

    billing.route("POST", "/charges", charge)
    billing.route("POST", "/refunds", refund)
    billing.route("GET", "/accounts/{id}/charges", charges)
    billing.route("POST", "/payables", payable)
    billing.route("DELETE", "/payables/{id}", lambda ask: billing.remove("payables", ask.parts["id"]))
    _add_orders(billing)
    return billing


def _add_orders(billing: Service) -> None:
    """Orders, what was paid back for them, and how: paying out takes the token."""

    def order(ask: Ask) -> Answer:
        refunds = billing.present("order_refunds")
        refunded = sum(one["amount"] for one in refunds if one["order"] == ask.parts["id"])
        total, email = 12_000, "buyer@example.com"
        return Answer(200, {"id": ask.parts["id"], "email": email, "total": total, "refunded": refunded})

    def book(ask: Ask) -> Answer:
        entry = {"order": ask.parts["id"], **ask.body}
        return lacking(ask, "payout", "amount") or Answer(201, billing.add("order_refunds", "r", entry))

    def stranger(ask: Ask) -> Answer | None:
        known = ask.headers.get("authorization") == f"Bearer {BILLING_TOKEN}"
        return None if known else Answer(401, {"error": "wants Authorization: Bearer"})

    def payout(ask: Ask) -> Answer:
        refused = stranger(ask) or lacking(ask, "order", "amount")
        return refused or Answer(201, billing.add("payouts", "p", {**ask.body, "key": ask.key}))

    def reverse(ask: Ask) -> Answer:
        meant = [one for one in billing.present("payouts") if one["key"] == ask.body.get("payout_key")]
        if not meant:
            return stranger(ask) or Answer(404, {"error": "nothing was paid out with that key"})
        return stranger(ask) or Answer(201, billing.add("reversals", "v", {"payout": meant[0]["id"]}))

    billing.route("GET", "/orders/{id}", order)
    billing.route("POST", "/orders/{id}/refunds", book)
    billing.route(
        "DELETE", "/orders/{order}/refunds/{id}", lambda ask: billing.remove("order_refunds", ask.parts["id"])
    )
    billing.route("POST", "/payouts", payout)
    billing.route("POST", "/reversals", reverse)


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

    def expect(ask: Ask) -> Answer:
        return lacking(ask, "orderId") or Answer(201, shop.add("returns", "t", ask.body))

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
    shop.route("POST", "/inventory/returns", expect)
    shop.route("DELETE", "/inventory/returns/{id}", lambda ask: shop.remove("returns", ask.parts["id"]))
    shop.route("GET", "/orders", lambda ask: Answer(200, {"items": orders_of(ask.query.get("month", "2026-11"))}))
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

    def database(ask: Ask) -> Answer:
        return lacking(ask, "workspace") or Answer(201, platform.add("databases", "d", ask.body))

    def member(ask: Ask) -> Answer:
        entry = {"workspace": ask.parts["workspace"], **ask.body}
        return lacking(ask, "email") or Answer(201, platform.add("members", "u", entry))

    def failover(ask: Ask) -> Answer:
        return lacking(ask, "service") or Answer(201, platform.add("failovers", "o", ask.body))

    platform.route("POST", "/failovers", failover)
    platform.route("DELETE", "/failovers/{id}", lambda ask: platform.remove("failovers", ask.parts["id"]))
    platform.route("GET", "/workspaces", find)
    platform.route("POST", "/workspaces", create)
    platform.route("GET", "/workspaces/{id}", lambda ask: platform.shown("workspaces", ask.parts["id"]))
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
