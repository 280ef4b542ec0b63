"""Layouts of an export: what other tools find in its folder, and how rows are taken out of it.

A new one is one file in this folder with a `Layout` in it (or a class that another package names
under the entry points `winnow.layouts`), and its test.
"""
