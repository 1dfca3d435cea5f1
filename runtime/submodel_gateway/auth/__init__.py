"""API keys: who may do what at which endpoint. Pure but for `folder`, which reads the keys' documents.

A key is `smk_<id>_<secret>`. Only a peppered digest of the secret is stored, so a leaked document opens nothing.
"""
