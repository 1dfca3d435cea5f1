"""Modules that handlers of the hosted platforms import, under their names there: `rp_logger`, `rp_progress`.

Each also goes by its `sm_` name.
"""
