"""Many runs of a story: variants and seeds, on threads or on a GPU."""
