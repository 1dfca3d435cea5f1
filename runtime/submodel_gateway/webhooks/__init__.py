"""Webhooks: where they may go (`targets`), how they are signed (`signing`), how many at once (`lanes`), and the one
module that opens connections (`sender`).

What is to be sent, and when, is the outbox's business (`jobs.outbox`, `service.dispatch`).
"""
