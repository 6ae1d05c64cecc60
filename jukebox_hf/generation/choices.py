"""Words and bounds that what is asked for is checked by, also where torch is not wanted."""

# Weights of a prior while it samples. int8 and int4 are rounded when they are loaded.
PRECISIONS = ("float32", "float16", "bfloat16", "int8", "int4")
# What a step runs as; recorded with a session. In float32 they are the same code for code.
BACKENDS = ("eager", "compiled", "graph")
DECODED_SECONDS = 5.0  # of audio at a time: bounds memory, whatever the length
MAX_SEED = 2**64 - 1
