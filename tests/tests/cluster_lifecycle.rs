//! The cluster starts, runs and leaves nothing behind.
