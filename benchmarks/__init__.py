"""What the speed claims rest on: peers and imagelab on the same inputs, in turn, in one run."""
