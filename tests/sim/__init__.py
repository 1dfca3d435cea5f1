"""The job engine under simulated faults: real service code, virtual time, one seed per history.

`make sim` runs a thousand seeds, `make sim SEED=17` replays one and prints what happened. `world` puts the parts
together, `checker` judges the history that comes out.
"""
