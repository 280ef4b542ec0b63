"""The rules that follow from a job's `export:` section."""

from collections.abc import Collection

from pipeline.config.job import Job, Rule
from pipeline.words.errors import InputError

BOXES = {"faces": "face_boxes", "nudenet": "nudenet_boxes"}
"""The column of boxes by the value of `export.blur_faces`."""


def export_rules(job: Job, columns: Collection[str]) -> tuple[Rule, ...]:
    """A fetched picture whose faces were not looked for is not exported if faces are to be blurred.

    InputError if the job does not measure the boxes; `columns` are those that it makes.
    """
    source = job.export.blur_faces
    if source is None:
        return ()
    if BOXES[source] not in columns:
        raise InputError(
            f"export.blur_faces: {source} needs the boxes of measure.{source}; add "
            f"`measure: {{{source}: {{}}}}` to the job"
        )
    unknown = f"status = 'success' and {BOXES[source]} is null"
    return (Rule(reason="not_measured", when=unknown, if_null="keep"),)
