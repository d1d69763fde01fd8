"""What runs beside the payload on a worker. Standard library only; imports nothing of ours."""
