"""Where tasks run. The driver knows `base.Executor` alone; `opening` picks one for a job."""
