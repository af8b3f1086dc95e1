"""Workflow packs: one folder each, to be copied by whoever makes a workflow of their own."""
