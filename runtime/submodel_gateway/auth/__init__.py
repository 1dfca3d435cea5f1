"""Who is let in: clients by their keys, workers by the tokens of their pods. Pure but for `folder`, which reads keys.

A key is `smk_<id>_<secret>`. Only a peppered digest of the secret is stored, so a leaked document opens nothing.
"""
