"""Makes the packaged model of caption toxicity, `winnow-toxicity`."""
