"""The rules of a job that names none."""

from pipeline.config.job import Job, Rule


def default_rules(job: Job) -> tuple[Rule, ...]:
    """Cautious rules over what this job measures, in the order of cost.

    Caption lengths after DataComp's basic filter (Gadre et al., 2023), loosened for titles; the
    clip_score line is that of LAION-400M (Schuhmann et al., 2021) less a margin.
    """
    rules = [
        Rule(reason="caption_short", when="caption_chars < 5 or caption_words < 2"),
        Rule(reason="caption_long", when="caption_chars > 1000"),
        Rule(reason="pii", when="pii_email > 0 or pii_phone > 0"),
    ]
    if job.captions.vocabulary is not None:
        rules.append(Rule(reason="vocabulary", when="vocabulary_hits > 0"))
    if job.captions.toxicity is not None:
        rules.append(Rule(reason="toxic_caption", when="toxicity > 0.8"))
    if job.images.nsfw is not None:
        rules.append(Rule(reason="nsfw", when="punsafe > 0.8", if_null="drop"))
    if job.embed.model is not None:
        rules.append(Rule(reason="low_clip_score", when="clip_score < 0.2", if_null="drop"))
    rules.append(Rule(reason="duplicate", when="dup_group is not null"))
    return tuple(rules)


def resolve(job: Job) -> Job:
    """The job with its rules written out."""
    return job if job.rules is not None else job.model_copy(update={"rules": default_rules(job)})
