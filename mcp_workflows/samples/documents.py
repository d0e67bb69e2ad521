"""A document service that takes its time: uploads, conversions that are asked about, extractions that call back.

What goes wrong is in a document's title: one that says ``encrypted`` cannot be converted, one that says ``unreadable``
cannot be extracted, and one that says ``faded`` is extracted with little confidence.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Final

from mcp_workflows.samples.service import Answer, Ask, CallBack, Json, Service, lacking

_ASKED_UNTIL_DONE: Final = 2


def documents() -> Service:
    """Scans of the office, documents, their conversions and extractions, and an archive."""
    service = Service("documents")

    def scan(ask: Ask) -> Answer:
        if ask.parts["id"] == "missing":
            return Answer(404, {"error": "no such scan"})
        return Answer(200, _pdf(f"scan {ask.parts['id']}"), {"Content-Type": "application/pdf"})

    def upload(ask: Ask) -> Answer:
        content = ask.files.get("file")
        if content is None:
            return Answer(422, {"error": "file missing"})
        told = ask.body["file"]
        entry = {"title": ask.body.get("title", ""), **told, "sha256": sha256(content).hexdigest()}
        made = service.add("documents", "d", entry)
        service.contents[made["id"]] = content
        return Answer(201, made)

    def archive(ask: Ask) -> Answer:
        content = ask.files.get("")
        if content is None:
            return Answer(422, {"error": "a file is wanted, not JSON"})
        service.contents[ask.parts["name"]] = content
        return Answer(201, service.put("archive", ask.parts["name"], ask.body))

    service.route("GET", "/scans/{id}", scan)
    service.route("POST", "/documents", upload)
    service.route("DELETE", "/documents/{id}", lambda ask: service.remove("documents", ask.parts["id"]))
    service.route("PUT", "/archive/{name}", archive)
    service.route("DELETE", "/archive/{name}", lambda ask: service.remove("archive", ask.parts["name"]))
    _add_conversions(service)
    _add_extractions(service)
    return service


def _add_conversions(service: Service) -> None:
    """The 202 pattern: where to ask, when to ask first, and in the end where the result is."""

    def begin(ask: Ask) -> Answer:
        if refusal := lacking(ask, "document", "format") or _unknown(service, ask):
            return refusal
        begun = service.add("conversions", "k", {**ask.body, "state": "running", "asked": 0})
        return Answer(202, begun, {"Location": f"/conversions/{begun['id']}", "Retry-After": "1"})

    def state(ask: Ask) -> Answer:
        conversion = service.find("conversions", ask.parts["id"])
        if conversion is None:
            return Answer(404, {"error": "no such conversion"})
        asked = conversion["asked"] + 1
        if asked < _ASKED_UNTIL_DONE:
            return replace(service.change("conversions", conversion["id"], asked=asked), headers={"Retry-After": "1"})
        if "encrypted" in _title(service, conversion):
            return service.change("conversions", conversion["id"], state="failed", reason="the document is encrypted")
        result = f"/conversions/{conversion['id']}/result"
        return service.change("conversions", conversion["id"], asked=asked, state="done", result=result)

    def result(ask: Ask) -> Answer:
        conversion = service.find("conversions", ask.parts["id"])
        if conversion is None or conversion["state"] != "done":
            return Answer(409, {"error": "not converted"})
        content = _pdf(f"{conversion['format']} of {conversion['document']}")
        return Answer(200, content, {"Content-Type": "application/pdf"})

    service.route("POST", "/conversions", begin)
    service.route("GET", "/conversions/{id}", state)
    service.route("GET", "/conversions/{id}/result", result)
    service.route("DELETE", "/conversions/{id}", lambda ask: service.remove("conversions", ask.parts["id"]))


def _add_extractions(service: Service) -> None:
    """What is done is told to the address that came with the request; nobody can ask."""

    def begin(ask: Ask) -> Answer:
        if refusal := lacking(ask, "document", "callback_url") or _unknown(service, ask):
            return refusal
        title = _title(service, ask.body)
        begun = service.add("extractions", "e", {"document": ask.body["document"], "state": "running"})
        if "unreadable" in title:
            told = {"id": begun["id"], "state": "failed", "reason": "nothing can be read"}
        else:
            told = {"id": begun["id"], "state": "done", "confidence": 0.41 if "faded" in title else 0.98}
            told["invoice"] = {"supplier": "Paper & Ink Ltd", "number": f"INV-{begun['id']}", "total": 11_900}
        return Answer(202, dict(begun), call_back=CallBack(str(ask.body["callback_url"]), told))

    service.route("POST", "/extractions", begin)
    service.route("DELETE", "/extractions/{id}", lambda ask: service.remove("extractions", ask.parts["id"]))


def _unknown(service: Service, ask: Ask) -> Answer | None:
    known = service.find("documents", str(ask.body["document"])) is not None
    return None if known else Answer(404, {"error": f"no document {ask.body['document']}"})


def _title(service: Service, about: Json) -> str:
    document = service.find("documents", about["document"])
    return str(document["title"]) if document else ""


def _pdf(text: str) -> bytes:
    """Enough of a PDF to be told from text: the bytes after the first line are no UTF-8."""
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + text.encode() + b"\n%%EOF\n"
