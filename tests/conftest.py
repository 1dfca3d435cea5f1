"""Profiles of the property tests, chosen with `--hypothesis-profile`; the default is for every change."""

from hypothesis import Phase, settings

settings.register_profile("nightly", max_examples=5_000, deadline=None, print_blob=True)

# Many runs in a row, which need the same verdict each time and no small example of a failure.
settings.register_profile(
    "mutants", max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
