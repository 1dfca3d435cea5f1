"""Gives back what it was sent, after it was checked."""

import submodel
from submodel.serverless.utils.rp_validator import validate

SCHEMA = {
    "text": {"type": str, "required": True, "constraints": lambda text: 0 < len(text) <= 2000},
    "times": {"type": int, "required": False, "default": 1, "constraints": lambda times: 0 < times <= 10},
    "shout": {"type": bool, "required": False, "default": False},
}

log = submodel.RunPodLogger()


def handler(job):
    checked = validate(job["input"], SCHEMA)
    if "errors" in checked:
        return {"error": checked["errors"]}
    wanted = checked["validated_input"]
    log.info(f"{wanted['times']} times", job["id"])
    text = wanted["text"].upper() if wanted["shout"] else wanted["text"]
    return {"echo": [text] * wanted["times"]}


if __name__ == "__main__":
    submodel.serverless.start({"handler": handler})
