"""Profiles of the property tests, chosen with `--hypothesis-profile`; the default is for every change.

None has a deadline: how long an example takes says how busy the machine is.
"""

from hypothesis import Phase, settings

settings.register_profile("default", deadline=None)
settings.load_profile("default")
settings.register_profile("nightly", max_examples=5_000, print_blob=True)

# Many runs in a row, which need the same verdict each time and no small example of a failure.
settings.register_profile(
    "mutants", max_examples=60, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
