"""Who is asking, and whether they may: keys, tokens, tickets, accounts, terms of use.

The doors are ``guard.py`` (what every protected route calls) and ``auth.py`` (one a process).
"""
