"""The wire contract: msgspec Structs, one family a file. JSON Schemas in `generated/` are made from them.

Nothing here does I/O and nothing here imports from `streams` or `agents`.
"""
