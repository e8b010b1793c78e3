//! Words of a frame, each read and written by one instruction.
//!
//! An IPv4 header behind an Ethernet header lies two bytes beside every boundary of four. LLVM reads
//! a word that it does not know to be aligned byte by byte and puts it together, for the BPF
//! target always: that is seven instructions for one, forty times a packet. The kernel takes
//! unaligned access to a frame where the processor does (`NET_IP_ALIGN`, and
//! `check_pkt_ptr_alignment` in kernel/bpf/verifier.c).

macro_rules! words {
    ($($read:ident $write:ident $word:ty, $size:literal $width:literal)*) => { $(
        #[doc = concat!("The ", $width, " bytes of `bytes` from `AT` on, in the machine's order.")]
        #[inline(always)]
        #[must_use]
        pub fn $read<const AT: usize, const N: usize>(bytes: &[u8; N]) -> $word {
            const { assert!(AT + $width <= N) };
            #[cfg(target_arch = "bpf")]
            {
                let word: u64;
                // SAFETY: reads bytes of `bytes`, which the assertion above keeps within it.
                unsafe {
                    core::arch::asm!(
                        concat!("{word} = *(", $size, " *)({bytes} + {at})"),
                        word = out(reg) word,
                        bytes = in(reg) bytes.as_ptr(),
                        at = const AT,
                        options(pure, readonly, nostack),
                    );
                }
                #[allow(clippy::cast_possible_truncation, reason = "the load leaves the rest 0")]
                let word = word as $word;
                word
            }
            #[cfg(not(target_arch = "bpf"))]
            {
                let mut word = [0; $width];
                word.copy_from_slice(&bytes[AT..AT + $width]);
                <$word>::from_ne_bytes(word)
            }
        }

        #[doc = concat!("Writes the ", $width, " bytes of `bytes` from `AT` on.")]
        #[inline(always)]
        pub fn $write<const AT: usize, const N: usize>(bytes: &mut [u8; N], word: $word) {
            const { assert!(AT + $width <= N) };
            #[cfg(target_arch = "bpf")]
            // SAFETY: writes bytes of `bytes`, which the assertion above keeps within it.
            unsafe {
                core::arch::asm!(
                    concat!("*(", $size, " *)({bytes} + {at}) = {word}"),
                    bytes = in(reg) bytes.as_mut_ptr(),
                    at = const AT,
                    word = in(reg) u64::from(word),
                    options(nostack),
                );
            }
            #[cfg(not(target_arch = "bpf"))]
            bytes[AT..AT + $width].copy_from_slice(&word.to_ne_bytes());
        }
    )* };
}

words! {
    long put_long u64, "u64" 8
    word put_word u32, "u32" 4
    half put_half u16, "u16" 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_where_they_were_written() {
        let mut bytes = [0; 8];
        put_half::<0, 8>(&mut bytes, u16::from_be_bytes([1, 2]).to_be());
        put_word::<2, 8>(&mut bytes, u32::from_be_bytes([3, 4, 5, 6]).to_be());
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(half::<4, 8>(&bytes).to_be(), 0x0506);
        assert_eq!(word::<1, 8>(&bytes).to_be(), 0x0203_0405);
    }
}
