"""Small sample services, from a CRM to an incident desk behind MCP, that behave like real ones and fail on request.

They keep books, honour ``Idempotency-Key`` as payment services do, and log every call, so that the demo and the tests
can say what was really called and what really took effect. Misbehaviour is never random: a *fault* says which call
fails, and how.
"""
