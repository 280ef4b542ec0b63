"""Kinds of heads: judges on CLIP picture vectors, which `images.heads` of a job names.

A new one is one file in this folder with a `HeadKind` in it (or a class that another package names
under the entry points `winnow.heads`), and its test.
"""
