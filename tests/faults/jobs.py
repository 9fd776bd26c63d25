"""All jobs that a power cut is tried on."""

from tests.faults import export_jobs, extraction_jobs, mining_jobs, rich_jobs, store_jobs, training_jobs

JOBS = [
    *store_jobs.JOBS,
    *extraction_jobs.JOBS,
    *training_jobs.JOBS,
    *mining_jobs.JOBS,
    *export_jobs.JOBS,
    *rich_jobs.JOBS,
]
