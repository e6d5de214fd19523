//! Backups against stock restic and its server: each reads, checks and restores what the other wrote.
