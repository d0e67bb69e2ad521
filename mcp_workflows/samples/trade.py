"""What is bought and sold: a supplier's price list, the catalogue that takes it over, and a month's orders.

All of it is made up by rule, so that everybody who asks is told the same.
"""

from __future__ import annotations

from typing import Any, Final

from mcp_workflows.samples.service import Answer, Ask, Service, lacking, page_of

_THINGS: Final = ("Lamp", "Desk", "Chair", "Shelf", "Clock")
_COUNTRIES: Final = ("DE", "FR", "DE", "IT", "FR", "DE")
DRAFT: Final = "(draft)"
"""Products with this in their name are not ready to be sold: the catalogue refuses them."""


def supplier() -> Service:
    """``GET /products``, 25 of them in pages; the eighth and the sixteenth are drafts."""
    made = Service("supplier")
    for number in range(1, 26):
        name = f"{_THINGS[number % 5]} {number}" + (f" {DRAFT}" if number in (8, 16) else "")
        made.put("products", f"SKU-{number:03}", {"name": name, "price": 500 + 150 * number})
    made.route("GET", "/products", lambda ask: page_of(made.present("products"), ask))
    return made


def catalogue() -> Service:
    """``PUT /products/{sku}`` makes or replaces a product, and refuses drafts."""
    made = Service("catalogue")

    def upsert(ask: Ask) -> Answer:
        if refusal := lacking(ask, "name", "price"):
            return refusal
        if DRAFT in str(ask.body["name"]):
            return Answer(422, {"error": f"{ask.body['name']} is a draft"})
        known = made.find("products", ask.parts["sku"]) is not None
        return Answer(200 if known else 201, made.put("products", ask.parts["sku"], ask.body))

    made.route("PUT", "/products/{sku}", upsert)
    made.route("GET", "/products", lambda ask: page_of(made.present("products"), ask))
    made.route("DELETE", "/products/{sku}", lambda ask: made.remove("products", ask.parts["sku"]))
    return made


def orders_of(month: str) -> list[dict[str, Any]]:
    """The six orders of a month (``2026-11``), each of one to three lines; amounts in cents."""
    return [
        {
            "id": f"{month}-{number}",
            "placed_at": f"{month}-{number * 4:02}T09:30:00Z",
            "customer": {"email": f"customer{number}@example.com", "country": _COUNTRIES[number - 1]},
            "lines": [
                {"sku": f"SKU-{number + line:03}", "quantity": line + 1, "price": 500 + 150 * (number + line)}
                for line in range(1 + number % 3)
            ],
        }
        for number in range(1, 7)
    ]
