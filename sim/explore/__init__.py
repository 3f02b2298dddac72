"""A page on this machine on which a scenario's keys are moved, and the picture follows."""
