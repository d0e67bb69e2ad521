"""The person at the client of a call: forms, and asking them."""
