//! Next hops of members, from the kernel's routes and neighbours.
