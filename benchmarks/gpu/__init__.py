"""What `benchmarks/gpu_once.sh` measures, a file for each part; `results` keeps and tells it."""
