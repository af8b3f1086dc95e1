"""Policies tried on what the topics recorded: the same inputs, clock, batches and context, through the gate's path."""
