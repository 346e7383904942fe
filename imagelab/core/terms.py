"""Words that more than one question uses: severities of findings and confidence of advice."""

#: Severities of findings, lowest first.
SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")

#: How sure a piece of advice is. ``proven``: the change was built, and the result measured; ``exact``: the ledger counts
#: the bytes, or a test here builds this kind of rewrite; ``likely``; ``possible``: look before you follow it.
PROVEN, EXACT, LIKELY, POSSIBLE = "proven", "exact", "likely", "possible"
