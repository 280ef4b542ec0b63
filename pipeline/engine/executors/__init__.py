"""What runs tasks: this process, or Dask."""
