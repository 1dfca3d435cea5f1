"""Builders and stand-ins for outside systems that the tests share."""
