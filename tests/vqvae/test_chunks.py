"""Pieces of a long sequence, over all small sizes."""

from jukebox_hf.vqvae.chunks import chunks


def test_chunks_cover_everything_once_and_read_their_halo():
    for total in range(1, 12):
        for size in [None, *range(1, 13)]:
            for halo in range(4):
                pieces = list(chunks(total, size, halo))
                covered = [i for piece in pieces for i in range(piece.start, piece.stop)]
                assert covered == list(range(total))
                for piece in pieces:
                    assert piece.stop - piece.start <= (size or total)
                    assert piece.read_start == max(0, piece.start - halo)
                    assert piece.read_stop == min(total, piece.stop + halo)
