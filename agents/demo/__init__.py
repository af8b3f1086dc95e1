"""The demo: real billing decisions, some late, some large, some broken, through a gate on a broker of its own."""
