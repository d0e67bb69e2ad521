"""``jq`` steps: reshaping that expressions cannot do, in child processes that can do nothing else."""
