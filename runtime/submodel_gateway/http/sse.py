"""Server-sent events as bytes. Pure."""

import msgspec

CONTENT_TYPE = b"text/event-stream; charset=utf-8"
COMMENT = b":\n\n"
"""Says nothing, and keeps a connection open through proxies that end quiet ones."""


def event(data: bytes, name: str = "", id: str = "") -> bytes:
    """One event whose data is JSON text."""
    head = (f"event: {name}\n" if name else "") + (f"id: {id}\n" if id else "")
    return head.encode() + b"data: " + one_line(data) + b"\n\n"


def one_line(document: bytes) -> bytes:
    """JSON text without line breaks, which would end the data of an event."""
    return msgspec.json.format(document, indent=-1) if b"\n" in document or b"\r" in document else document
