"""What broken or hostile clients can send to a gateway, and what must come of it: an answer, or a closed connection."""
