"""The stages. A new measurement is one file in this package, or a class of another package.

`registry` finds them, puts them in order and gives the rules of a job that names none.
"""
