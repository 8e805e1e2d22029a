"""Jobs: named tasks whose results are folders on disk, run by a pool of processes, Ray or Slurm, whatever is killed."""
