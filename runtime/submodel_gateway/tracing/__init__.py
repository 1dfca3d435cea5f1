"""Traces of jobs: `spans` is what the gateway says of them, `otel` where it goes when OpenTelemetry is asked for.

A job's trace context travels with it: in a field beside its input, and behind its webhook's URL. So any gateway
continues the trace, whichever began it.
"""
