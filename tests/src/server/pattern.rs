//! Bytes that are the same everywhere and tell when a block is missing, doubled or in the wrong place.

use std::{fmt::Write as _, sync::LazyLock};

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 64 * 1024;
const SEED: u64 = 2463;

/// From `offset` to the end of its block; each block is noise that starts with the block's number.
#[must_use]
pub fn at(offset: u64) -> Bytes {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut noise = vec![0; BLOCK - size_of::<u64>()];
        fastrand::Rng::with_seed(SEED).fill(&mut noise);
        noise
    });
    let mut block = BytesMut::with_capacity(BLOCK);
    block.put_u64(offset / BLOCK as u64);
    block.put_slice(&NOISE);
    let skip = usize::try_from(offset % BLOCK as u64).unwrap_or(BLOCK);
    block.freeze().slice(skip..)
}

/// SHA-256 of the first `len` bytes, in hexadecimal.
#[must_use]
pub fn sha256(len: u64) -> String {
    let mut hash = Sha256::new();
    let mut done = 0;
    while done < len {
        let block = at(done);
        let take = usize::try_from(len - done).map_or(block.len(), |rest| rest.min(block.len()));
        hash.update(&block[..take]);
        done += take as u64;
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_bytes() {
        let mut split = Vec::new();
        while split.len() < 3 * BLOCK {
            let piece = at(split.len() as u64);
            let take = piece.len().min(1000);
            split.extend_from_slice(&piece[..take]);
        }
        let whole: Vec<u8> = (0..3).flat_map(|block| at(block * BLOCK as u64)).collect();
        assert_eq!(split[..3 * BLOCK], whole);
        assert_ne!(whole[..BLOCK], whole[BLOCK..2 * BLOCK]);
    }

    #[test]
    fn the_hash_is_of_the_same_bytes() {
        let bytes: Vec<u8> = [at(0), at(BLOCK as u64)].concat();
        assert_eq!(sha256(70_000), hex(&Sha256::digest(&bytes[..70_000])));
    }
}
