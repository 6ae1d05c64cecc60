#!/bin/sh
# Everything that needs a CUDA GPU, in parts that stand alone, each with one table in the end:
#
#     sh tests/benchmarks/gpu.sh OUT_FOLDER PYTHON PART...
#
# In this order for the first fifteen minutes on one GPU, which nobody has measured yet: tests
# (marked `gpu`), upsampler and top (graphs against eager steps and their shares of what the memory
# copies, at batch 1; compiling each takes minutes), training. With more time: batches, quantized,
# codec. A part leaves PART.txt and PART.json in the folder. PYTHON needs torch (2.11 or later), transformers, huggingface_hub,
# click, numpy, safetensors, psutil, soundfile, soxr, and for the tests pytest.
# `REHEARSE=1` tries the script itself on a CPU, with the smallest sizes and no compiling.
set -eu
out=${1:?give a folder for the results}
python=${2:?give a Python}
shift 2
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
device=cuda
more=
training=released_upsampler
if [ -n "${REHEARSE:-}" ]; then device=cpu; more=--tiny; training=4x256; fi

# The output of a command on screen and in a file, and the command's own exit status.
logged() {
    log=$1
    shift
    { "$@" 2>&1 || echo "$?" > "$out/.failed"; } | tee "$log"
    if [ -e "$out/.failed" ]; then rm "$out/.failed"; return 1; fi
}

bench() {
    part=$1
    shift
    logged "$out/$part.txt" "$python" -W ignore -m tests.benchmarks.bench "$@" --table \
        --device "$device" $more --json "$out/$part.json"
}

decode() {  # PART SIZE "BATCHES" "VARIANTS"
    if [ -n "${REHEARSE:-}" ]; then
        bench "$1" machine decode --sizes 4x256 --batches 1 2 --variants float16:eager int8:eager
    else
        # shellcheck disable=SC2086
        bench "$1" machine decode --sizes "$2" --batches $3 --variants $4
    fi
}

for part in "$@"; do
    case $part in
    tests)
        # Only the files that have such tests: others need packages of their own. What torch warns
        # of on a GPU is no failure here.
        files=$(grep -rlE --include='test_*.py' 'mark\.gpu' tests)
        # shellcheck disable=SC2086
        logged "$out/tests.txt" "$python" -m pytest -q -p no:cacheprovider -m gpu -W default $files
        ;;
    upsampler) decode upsampler released_upsampler 1 "float16:eager float16:graph" ;;
    top) decode top released_5b 1 "float16:eager float16:graph" ;;
    training) bench training machine train --sizes "$training" ;;
    batches) decode batches released_upsampler "16 41" "float16:eager float16:graph" ;;
    quantized) decode quantized released_upsampler 1 "float16:graph int8:graph int4:graph" ;;
    codec) bench codec machine prefill codec ;;
    *)
        echo "unknown part $part: tests, upsampler, top, training, batches, quantized or codec" >&2
        exit 2
        ;;
    esac
done
