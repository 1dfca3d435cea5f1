"""What users of the hosted platforms may rely on: the list, the tests that carry its ids, and the page made from it."""
