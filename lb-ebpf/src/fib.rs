//! The kernel's own routes, asked by its helper.

use core::mem::{self, MaybeUninit};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LKUP_RET_UNSUPP_LWT, bpf_fib_lookup,
    },
    helpers::generated::{bpf_check_mtu, bpf_fib_lookup as fib_lookup},
    programs::XdpContext,
};
use lb_common::{
    outcome::NextHop,
    tables::{Route, RouteQuery},
    units::{Addr, Addr6},
};

/// A family as `struct bpf_fib_lookup` has it.
pub(crate) trait Fib: Copy {
    /// `AF_INET` or `AF_INET6`.
    const FAMILY: u8;
    fn fill(query: &RouteQuery<Self>, fib: &mut bpf_fib_lookup);
}

impl Fib for Addr {
    const FAMILY: u8 = 2;

    #[inline(always)]
    fn fill(query: &RouteQuery<Self>, fib: &mut bpf_fib_lookup) {
        fib.__bindgen_anon_3.ipv4_src = query.source.word();
        fib.__bindgen_anon_4.ipv4_dst = query.destination.word();
    }
}

impl Fib for Addr6 {
    const FAMILY: u8 = 10;

    #[inline(always)]
    fn fill(query: &RouteQuery<Self>, fib: &mut bpf_fib_lookup) {
        fib.__bindgen_anon_3.ipv6_src = halves(query.source);
        fib.__bindgen_anon_4.ipv6_dst = halves(query.destination);
    }
}

#[inline(always)]
fn halves(address: Addr6) -> [u32; 4] {
    // SAFETY: both are sixteen bytes, and any of them make integers.
    unsafe { mem::transmute(address) }
}

#[inline(always)]
pub(crate) fn ask<A: Fib>(ctx: &XdpContext, query: &RouteQuery<A>) -> Route {
    let mut fib = MaybeUninit::uninit();
    let fib = blank(&mut fib);
    fib.family = A::FAMILY;
    fib.l4_protocol = query.protocol;
    fib.ifindex = ctx.ingress_ifindex() as u32;
    fib.__bindgen_anon_1.tot_len = query.length;
    A::fill(query, fib);
    // SAFETY: the context is this run's own, and the struct and its size belong together.
    let answer =
        unsafe { fib_lookup(ctx.ctx.cast(), &raw mut *fib, mem::size_of::<bpf_fib_lookup>() as i32, 0) };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Route::Hop(NextHop::new(fib.ifindex, fib.dmac, fib.smac)),
        BPF_FIB_LKUP_RET_FRAG_NEEDED if query.length > ingress_mtu(ctx) => Route::Kernel,
        // SAFETY: the kernel answers so in these bytes with this result (kernel commit e1850ea9bd9e).
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig(unsafe { fib.__bindgen_anon_1.mtu_result }),
        BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_UNSUPP_LWT => Route::Kernel,
        _ => Route::Unreachable,
    }
}

/// The longest packet of the link that the frame came by.
#[inline(always)]
fn ingress_mtu(ctx: &XdpContext) -> u16 {
    let mut mtu = 0;
    // SAFETY: the context is this run's own; what the helper says of the frame itself does not
    // matter, and it writes the link's MTU either way.
    unsafe { bpf_check_mtu(ctx.ctx.cast(), 0, &raw mut mtu, 0, 0) };
    mtu as u16
}

/// Makes all bytes zero. Word by word, and `volatile` so that LLVM leaves it at that: it would call a `memset` that goes
/// byte by byte, an eighth of what a reply costs.
#[inline(always)]
fn blank(fib: &mut MaybeUninit<bpf_fib_lookup>) -> &mut bpf_fib_lookup {
    const WORDS: usize = mem::size_of::<bpf_fib_lookup>() / 4;
    let words = fib.as_mut_ptr().cast::<u32>();
    for word in 0..WORDS {
        // SAFETY: one of the `WORDS` words that the struct, which is aligned to four bytes, consists of.
        unsafe { words.add(word).write_volatile(0) };
    }
    // SAFETY: all bytes zero is a valid value of this struct of integers.
    unsafe { fib.assume_init_mut() }
}
