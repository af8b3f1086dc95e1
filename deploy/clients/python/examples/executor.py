"""Pays: called at most once for each command, never at or past its deadline."""

from sluicegate_kit import Command, run


def pay(command: Command) -> str:
    print("pay", command.action["to"], command.action["amount"], flush=True)
    return "paid"  # the receipt's detail


run(pay, group="payments", store="sqlite:///acted.db")
