"""`report.html`: one self-contained page on what a run did, for those who must check it."""
