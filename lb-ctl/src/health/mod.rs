//! Probes: a pure state machine, the schedule, and the input and output around them.
