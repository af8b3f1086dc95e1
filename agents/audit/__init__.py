"""The independent judge of the promises: reads whole topics, shares no code with the gate.

What it takes from `streams` are the errors that end a process, nothing else; a fault in the gate's own
decoding, identifiers or arithmetic must not be able to hide itself here.
"""
