"""`report.html`: one self-contained page on what a run did, for those who must check it.

`source` says whether it is current, `write` makes it and loads Bokeh for that.
"""
