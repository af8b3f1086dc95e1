"""The billing pack: a rater model proposes to post an invoice line for each taxi trip.

`samples/` holds real trips of three months (see SOURCE.txt there), `trips.py` reads them, `events.py` makes decisions
of them, `policy.yaml` says what may be posted without a person. From February 2019 the trips carry a congestion
surcharge that the rater's rate card of 2018 does not know: its confidence falls, and more of its lines go to people.
"""
