//! A word that several CPUs read and write.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An aligned 64-bit word in map memory, without any order towards other words.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct SharedWord(AtomicU64);

impl SharedWord {
    #[inline(always)]
    pub(super) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline(always)]
    pub(super) fn load(&self) -> u64 {
        if cfg!(target_arch = "bpf") {
            // SAFETY: the pointer is to this very word, alive and aligned. The BPF back end of
            // LLVM 22 selects no atomic load; a volatile one is the same single instruction.
            unsafe { self.0.as_ptr().read_volatile() }
        } else {
            self.0.load(Relaxed)
        }
    }

    #[inline(always)]
    pub(super) fn store(&self, value: u64) {
        if cfg!(target_arch = "bpf") {
            // SAFETY: as in `load`.
            unsafe { self.0.as_ptr().write_volatile(value) }
        } else {
            self.0.store(value, Relaxed);
        }
    }

    /// Stores `new` if the word is still `old`.
    #[inline(always)]
    #[cfg(not(target_arch = "bpf"))]
    pub(super) fn exchange_if(&self, old: u64, new: u64) {
        let _ = self.0.compare_exchange(old, new, Relaxed, Relaxed);
    }

    /// Stores `new` if the word is still `old`.
    ///
    /// The BPF target of rustc 1.95 does not offer compare-and-swap in `core::sync::atomic`,
    /// although the instruction is there since Linux 5.12 (`BPF_CMPXCHG`, kernel commit
    /// 5ffa25502b5a) and LLVM emits it from instruction set v3 on.
    #[inline(always)]
    #[cfg(target_arch = "bpf")]
    #[allow(internal_features, reason = "the only way to the instruction; see above")]
    pub(super) fn exchange_if(&self, old: u64, new: u64) {
        use core::intrinsics::{AtomicOrdering, atomic_cxchg};
        // SAFETY: the pointer is to this very word, alive and aligned.
        let _ = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::Relaxed }, { AtomicOrdering::Relaxed }>(
                self.0.as_ptr(),
                old,
                new,
            )
        };
    }
}
