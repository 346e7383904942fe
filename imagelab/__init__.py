"""imagelab: why a container image is big, slow to build or full of findings."""
