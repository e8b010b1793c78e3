//! bpf(2) where aya has no word for it: maps in batches (Linux 5.6), the interface of a link.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::plain::Plain;

// Commands of `enum bpf_cmd` in include/uapi/linux/bpf.h.
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;

/// Elements that one call moves; the buffers of a walk over flows take 128 KiB.
const BATCH: usize = 4096;

/// `union bpf_attr`, member `batch`.
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: RawFd,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` for `BPF_OBJ_GET`.
#[repr(C)]
struct PathAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr`, member `info`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: RawFd,
    info_len: u32,
    info: u64,
}

/// The head of `struct bpf_link_info` with the union's member `xdp`, whose union is aligned to 8.
#[derive(Default)]
#[repr(C)]
struct XdpLinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    padding: u32,
    ifindex: u32,
    rest: [u32; 3],
}

const LINK_INFO_SIZE: u32 = 32;
const _: () = assert!(size_of::<XdpLinkInfo>() == LINK_INFO_SIZE as usize);

/// Shows every element of a hash map to `visit`. Elements that come or go meanwhile may be seen or not.
pub(super) fn walk<K: Plain, V: Plain>(map: BorrowedFd<'_>, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
    let (mut keys, mut values) = (vec![K::default(); BATCH], vec![V::default(); BATCH]);
    let mut cursor = None;
    loop {
        let batch = lookup_batch(map, cursor, &mut keys, &mut values)?;
        keys.iter().zip(&values).take(batch.count).for_each(|(key, value)| visit(key, value));
        match batch.end {
            End::More(next) => cursor = Some(next),
            End::Reached => return Ok(()),
            // A bucket never comes in parts.
            End::BucketIsLarger => {
                keys.resize(2 * keys.len(), K::default());
                values.resize(2 * values.len(), V::default());
            }
        }
    }
}

/// Elements `first..first + count` of an array.
pub(super) fn read_array<V: Plain>(map: BorrowedFd<'_>, first: u32, count: usize) -> io::Result<Vec<V>> {
    let mut values = vec![V::default(); count];
    let mut keys = vec![0u32; count.min(BATCH)];
    // A batch begins behind the key that it is given.
    let mut cursor = first.checked_sub(1);
    let mut done = 0;
    while done < count {
        let room = (count - done).min(BATCH);
        let batch = lookup_batch(map, cursor, &mut keys[..room], &mut values[done..done + room])?;
        done += batch.count;
        match batch.end {
            End::More(next) => cursor = Some(next),
            End::Reached if done == count => {}
            End::Reached | End::BucketIsLarger => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(values)
}

/// Writes elements of an array from `first` on.
pub(super) fn write_array<V: Plain>(map: BorrowedFd<'_>, first: u32, values: &[V]) -> io::Result<()> {
    for (first, values) in (first..).step_by(BATCH).zip(values.chunks(BATCH)) {
        let keys: Vec<u32> = (first..).take(values.len()).collect();
        let mut attr = BatchAttr {
            in_batch: 0,
            out_batch: 0,
            keys: keys.as_ptr().expose_provenance() as u64,
            values: values.as_ptr().expose_provenance() as u64,
            count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            map_fd: map.as_raw_fd(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: `keys` and `values` are alive and hold `count` elements each; the kernel reads
        // that many keys of 4 bytes and values of the map's value size, which is `V`'s
        // (`Tables::open` has compared), and `V` has no padding that would be uninitialised.
        unsafe { bpf(MAP_UPDATE_BATCH, &mut attr) }?;
    }
    Ok(())
}

struct Looked {
    count: usize,
    end: End,
}

enum End {
    More(u32),
    Reached,
    BucketIsLarger,
}

/// Hash maps and arrays both keep their place in four bytes.
fn lookup_batch<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    cursor: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Looked> {
    let mut next = 0u32;
    let mut attr = BatchAttr {
        in_batch: cursor.as_ref().map_or(0, |cursor| std::ptr::from_ref(cursor).expose_provenance() as u64),
        out_batch: (&raw mut next).expose_provenance() as u64,
        keys: keys.as_mut_ptr().expose_provenance() as u64,
        values: values.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which are
    // those of `K` and `V` (`Tables::open` has compared), into the two slices, which have room for
    // as many; any bytes are a `K` and a `V`. `next` and `cursor` take the four bytes of the place
    // in a hash map or an array.
    let done = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attr) };
    let end = match done.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::ENOENT)) => End::Reached,
        Err(Some(libc::ENOSPC)) if attr.count == 0 => End::BucketIsLarger,
        Ok(_) | Err(Some(libc::ENOSPC)) => End::More(next),
        Err(_) => return Err(done.err().unwrap_or_else(io::Error::last_os_error)),
    };
    Ok(Looked { count: attr.count as usize, end })
}

/// The interface of a pinned XDP link; 0 once it has gone.
pub(super) fn link_ifindex(pin: &Path) -> io::Result<u32> {
    let link = open_pin(pin)?;
    let mut info = XdpLinkInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: link.as_raw_fd(),
        info_len: LINK_INFO_SIZE,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes into `info`, which is that large.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info.ifindex)
}

fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attr = PathAttr { pathname: path.as_ptr().expose_provenance() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: `path` is a string that ends in zero and outlives the call.
    let fd = unsafe { bpf(OBJ_GET, &mut attr) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
///
/// What `attr` points to must be good for what `command` reads and writes there.
unsafe fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<RawFd> {
    // SAFETY: `attr` is alive and of the size given; the caller answers for what it points to.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), mem::size_of::<A>()) };
    match i32::try_from(answer) {
        Ok(answer) if answer >= 0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}
