"""The report and `plan` say how open_nsfw errs, unless heads judge safety too."""

from pipeline.measure.pictures.images import ImagesStage

GORE = {"name": "gore", "kind": "zeroshot", "positive": ["gore"], "negative": ["a cat"]}


def test_a_job_with_open_nsfw_alone_says_what_errors_to_expect(job_of):
    (line,) = ImagesStage(job_of([], images={"nsfw": "opennsfw"})).limits()
    assert line.startswith("punsafe is open_nsfw's alone: of 1,500 photographs it put 3 above 0.8")
    assert "configs/joint-safety.yaml" in line


def test_with_heads_there_is_no_such_line(job_of):
    images = {"nsfw": "opennsfw", "heads": [GORE]}
    assert ImagesStage(job_of([], images=images, embed={"model": "winnow-tiny"})).limits() == ()
