"""What independent seeds say of a fleet: intervals, paired comparisons, when to stop, what a control saves."""
