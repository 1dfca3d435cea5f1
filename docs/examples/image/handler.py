"""Draws an image for a prompt and stores it in a bucket; without a bucket the image is part of the output."""

import base64
import os
import struct
import zlib

import submodel
from submodel.serverless.utils import upload_in_memory_object
from submodel.serverless.utils.rp_cleanup import clean
from submodel.serverless.utils.rp_validator import validate

SCHEMA = {
    "prompt": {"type": str, "required": True},
    "width": {"type": int, "required": False, "default": 256, "constraints": lambda width: 16 <= width <= 1024},
    "height": {"type": int, "required": False, "default": 256, "constraints": lambda height: 16 <= height <= 1024},
    "steps": {"type": int, "required": False, "default": 4, "constraints": lambda steps: 0 < steps <= 50},
}


class Painter:
    """Stands for a model: the prompt chooses the colours, each step adds detail. Put yours here."""

    def paint(self, prompt, width, height, steps, tell):
        """The rows of the image, RGB bytes; `tell` is called after each step."""
        seed = zlib.crc32(prompt.encode())
        colours = [seed >> shift & 255 for shift in (0, 8, 16)]
        rows = [bytearray(width * 3) for _ in range(height)]
        for step in range(1, steps + 1):
            for y, row in enumerate(rows):
                for x in range(width):
                    wave = (x * step // 3 ^ y * step // 5) % 64
                    for channel, colour in enumerate(colours):
                        row[x * 3 + channel] = min(255, (colour * y // height + wave * (channel + 1) + x * 96 // width))
            tell(step)
        return rows


painter = Painter()


def png(rows, width):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def handler(job):
    checked = validate(job["input"], SCHEMA)
    if "errors" in checked:
        return {"error": checked["errors"]}
    wanted = checked["validated_input"]

    def tell(step):
        submodel.serverless.progress_update(job, {"step": step, "of": wanted["steps"]})

    image = png(painter.paint(**wanted, tell=tell), wanted["width"])
    try:
        return {"image": stored(job, image), "bytes": len(image)}
    finally:
        clean()


def stored(job, image):
    bucket = job.get("s3Config")
    if bucket or os.environ.get("BUCKET_ENDPOINT_URL"):
        return upload_in_memory_object("image.png", image, bucket_creds=bucket, prefix=job["id"])
    return "data:image/png;base64," + base64.b64encode(image).decode()


if __name__ == "__main__":
    submodel.serverless.start({"handler": handler})
