"""The whole system on one desk: server, meter and a customer, as their users run them.

It imports nothing of meterd and server. It starts their commands, reads what they print, and
looks at the page through HTTP: what the demonstration can do, anybody can do by hand.
"""
