"""The two older layouts of checkpoints: recognised, renamed and written in ours."""
