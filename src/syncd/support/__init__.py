"""What is handed to others when something is wrong: evidence for a partner's support desk, a bundle for syncd's own makers.

Both leave the house. So whatever goes in is masked on its way in, and what is not known to be harmless stays out.
"""
