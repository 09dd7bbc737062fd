"""The market that answers like the vendors: simulated and recorded answers, and a chain that executes plans."""
