"""From a scenario to the plain numbers that the tables of a run are filled with."""
