//! How glibc's allocator treats a program that blocks of some 100 KiB stream through.

use std::hint::black_box;

/// In bytes. Twice as much, when it is free, is not given back to the system.
const BLOCK: usize = 2 << 20;

/// Memory that was freed is used again instead of going back to the system after each few blocks and coming anew, page by
/// page, which costs a twentieth of a copy's processor time. When a block is freed that had pages of its own, glibc takes
/// its length as what is usual here, and gives back what exceeds twice that (mallopt(3), `M_MMAP_THRESHOLD`). Other
/// allocators only see a block that comes and goes, and it is not written to.
pub(crate) fn keep_freed() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
}
