"""How often clients may call, decided without a clock: the bucket, and the figures that fill it.

`service.admission` keeps the state and reads the time.
"""
