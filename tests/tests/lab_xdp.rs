//! What XDP on the balancer sends into a host of the lab arrives there. A veth loses such frames in silence
//! when its other end is not prepared, and then every test of the load balancer would fail without a reason.

use std::{
    io,
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use lb_tests::{
    frames::{self, Capture, SYN, Sender},
    lab::{self, CLIENT_LINK, FRONTEND, HOST_LINK, Lab, SPOOFED, Topology},
};
use nix::net::if_::if_nametoindex;

const FRAMES: usize = 10;

#[test]
fn redirected_frames_arrive_at_every_host() {
    let lab = Lab::new("self-xdp", Topology::default()).unwrap();
    let packet =
        frames::segment(SocketAddrV4::new(SPOOFED.0, 4000), SocketAddrV4::new(FRONTEND, 80), SYN, 1, 0);
    for backend in lab.backends() {
        let _redirect = lab.balancer().run(|| Ok(redirect(CLIENT_LINK, backend.name())?)).unwrap();
        let capture = Capture::start(backend.netns(), HOST_LINK, |_| true).unwrap();
        let sender = Sender::from_client(&lab).unwrap();
        (0..FRAMES).for_each(|_| sender.send(&packet).unwrap());
        let arrived = capture.finish(FRAMES, Duration::from_secs(3)).unwrap();
        let counters = lab::statistics(lab.balancer(), CLIENT_LINK).unwrap();
        assert_eq!(arrived.len(), FRAMES, "{}: {counters:?}", backend.name());
        assert_eq!(arrived[0].packet().unwrap(), packet);
    }
}

/// Native XDP on `from` that redirects every frame to `to`, while the link is held.
fn redirect(from: &str, to: &str) -> io::Result<OwnedFd> {
    const MOV: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const BPF_REDIRECT: u32 = 23;
    let program = load(&[
        instruction(MOV, 1, if_nametoindex(to)?),
        instruction(MOV, 2, 0),
        instruction(CALL, 0, BPF_REDIRECT),
        instruction(EXIT, 0, 0),
    ])?;
    attach(&program, if_nametoindex(from)?)
}

/// `struct bpf_insn`: code, registers, offset (0 here), immediate.
fn instruction(code: u8, register: u8, immediate: u32) -> u64 {
    u64::from(code) | u64::from(register) << 8 | u64::from(immediate) << 32
}

fn load(program: &[u64]) -> io::Result<OwnedFd> {
    /// Head of `union bpf_attr` for `BPF_PROG_LOAD`.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instructions: u32,
        program: u64,
        license: u64,
    }
    const BPF_PROG_LOAD: libc::c_int = 5;
    const XDP: u32 = 6;
    let attributes = Attributes {
        kind: XDP,
        instructions: u32::try_from(program.len()).map_err(io::Error::other)?,
        program: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    bpf(BPF_PROG_LOAD, &attributes)
}

fn attach(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    /// Head of `union bpf_attr` for `BPF_LINK_CREATE`.
    #[repr(C)]
    struct Attributes {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_XDP: u32 = 37;
    const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
    let program = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    bpf(BPF_LINK_CREATE, &Attributes { program, interface, attach_type: BPF_XDP, flags: XDP_FLAGS_DRV_MODE })
}

/// A bpf(2) command that returns a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes and what they point to outlive the call, and the kernel takes what lies behind
    // the given size as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match i32::try_from(result) {
        // SAFETY: both commands return a new descriptor, which nobody else has.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
