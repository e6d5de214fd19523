//! Everything that can be found, with its evidence. The words for it are in the tables beside.

use dc_crds::request::DecisionRole;
use dc_types::report::{Consistency, Verb};

use super::{Awaited, BackupFact, EncryptionFact, HomeFact, MoveFact, ProofFact, Standing};
use crate::place::verdict::{Change, Rule};
use crate::quota::Over;

/// What was found. Named after its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Ready,
    Creating,
    Deleting,
    /// What a host says of an item, in its own words.
    HostSays {
        host: String,
        standing: Standing,
        reason: String,
        message: String,
    },
    HostSilent {
        host: String,
    },
    HostNeverSeen {
        host: String,
    },
    SystemMissing {
        system: String,
    },
    /// A department's namespace without its Department.
    DepartmentMissing {
        department: String,
    },
    QuotaExceeded {
        department: String,
        over: Vec<Over>,
    },
    OverQuota {
        over: Vec<Over>,
    },
    WithinQuota,
    NoQuota,

    // Leases.
    LeaseRunning {
        until: String,
    },
    LeaseEnding {
        until: String,
        days: u32,
    },
    LeaseEnded {
        until: String,
    },
    LeaseInvalid {
        until: String,
    },
    /// The ledger holds a claim of an older object of this name.
    ClaimOfAnother {
        what: String,
        uid: String,
    },
    /// A deletion waits for these.
    StillUsed {
        by: Vec<String>,
    },
    NothingOwned,
    // Machines.
    Home(HomeFact),
    Backup(BackupFact),
    Encryption(EncryptionFact),
    Move(MoveFact),
    Proof(ProofFact),
    MachineRestore(super::MachineRestoreFact),
    Running {
        host: String,
    },
    Stopped,
    Starting {
        host: String,
    },
    Stopping,
    Paused {
        host: String,
    },
    Crashed {
        host: String,
    },
    StoppedByItself,
    ClassMissing {
        class: String,
    },
    ClassBroken {
        class: String,
        memory: String,
    },
    ClassTooLarge {
        class: String,
        host: String,
        rule: Rule,
        need: String,
        have: String,
    },
    SubnetMissing {
        card: usize,
        subnet: String,
    },
    SubnetNotReady {
        card: usize,
        subnet: String,
    },
    AddressOutside {
        card: usize,
        address: String,
        prefix: String,
    },
    AddressReserved {
        card: usize,
        address: String,
        subnet: String,
    },
    AddressTaken {
        card: usize,
        address: String,
        subnet: String,
    },
    AddressFamilyAbsent {
        card: usize,
        address: String,
        subnet: String,
    },
    SubnetFull {
        card: usize,
        subnet: String,
        prefix: String,
    },
    MacInvalid {
        card: usize,
        error: String,
    },
    MacTaken {
        card: usize,
        mac: String,
    },
    CardsChanged,
    ServiceNotNamed {
        card: usize,
        service: String,
        zone: String,
        named: Vec<String>,
    },
    VolumeMissing {
        disk: String,
        volume: String,
    },
    VolumeInUse {
        disk: String,
        volume: String,
        by: String,
    },
    VolumeDeleting {
        disk: String,
        volume: String,
    },
    VolumeNameTaken {
        disk: String,
        volume: String,
    },
    VolumeTwice {
        disk: String,
        volume: String,
    },
    TemplateBroken {
        disk: String,
        error: String,
    },
    VolumesPending {
        waiting: Vec<Awaited>,
    },
    GrantsPending {
        waiting: Vec<String>,
    },
    CloudInitKind,
    CloudInitNotYaml {
        error: String,
    },
    SecretMissing {
        secret: String,
    },
    SecretKeyMissing {
        secret: String,
    },
    SecretUnreadable {
        secret: String,
        error: String,
    },
    NoCapacity {
        class: String,
        /// vCPUs and memory.
        need: String,
        help: Change,
        hosts: String,
    },
    Placed {
        host: String,
    },
    NotPlaced,
    Attached {
        volumes: usize,
    },

    // Storage.
    PoolMissing {
        pool: String,
    },
    PoolUnknown {
        pool: String,
        host: String,
    },
    PoolFaulty {
        pool: String,
        fault: String,
    },
    PoolFull {
        pool: String,
        need: String,
        left: String,
        limit: String,
    },
    PoolWarning {
        pool: String,
        percent: u64,
        warn: u64,
    },
    /// What is promised comes near to what may be.
    PoolNearlyPromised {
        pool: String,
        percent: u64,
        limit: String,
        warn: u64,
    },
    PoolHasRoom {
        percent: u64,
    },
    PoolNotServed {
        pool: String,
        host: String,
    },
    ImageMissing {
        image: String,
    },
    ImageNotInPool {
        image: String,
        pool: String,
    },
    ImageNotReady {
        image: String,
        pool: String,
    },
    ImageFailed {
        image: String,
        pool: String,
        /// Of the pool's storage host.
        message: String,
    },
    ImageLarger {
        image: String,
        image_size: String,
        size: String,
    },
    ImagePending {
        pools: Vec<String>,
    },
    SourceVolumeMissing {
        volume: String,
    },
    SourceVolumeElsewhere {
        volume: String,
        pool: String,
    },
    SourceVolumeLarger {
        volume: String,
        source: String,
        size: String,
    },
    SourceVolumeNotReady {
        volume: String,
    },
    SizeInvalid {
        error: String,
    },
    Shrinks {
        from: String,
        to: String,
    },
    Growing {
        from: String,
        to: String,
    },
    VolumeAttached {
        vm: String,
    },
    VolumeReleased {
        note: String,
    },
    /// A host was asked for something else and has not said yet how that stands.
    LookedFor,
    QosInvalid {
        error: String,
    },
    PoolLacks {
        pool: String,
        verb: Verb,
        /// Of its driver.
        why: String,
    },
    ClassDiffers {
        pool: String,
        pool_class: &'static str,
        department: String,
        class: &'static str,
    },
    VolumeErased {
        certificate: String,
    },

    // Snapshots.
    SnapshotTargetMissing {
        what: String,
    },
    SnapshotTargetNotReady {
        volume: String,
    },
    SnapshotTargetDeleting {
        volume: String,
    },
    SnapshotPoolFull {
        pool: String,
        need: String,
        left: String,
        limit: String,
    },
    HoldTaken {
        vm: String,
        by: String,
    },
    HoldPending {
        vm: String,
        host: String,
    },
    SnapshotTaking {
        taken: usize,
        all: usize,
    },
    SnapshotVerifying {
        vm: String,
    },
    SnapshotAgain {
        attempts: u32,
    },
    SnapshotFailed {
        attempts: u32,
    },
    SnapshotTaken {
        level: Consistency,
    },
    SnapshotReplaced {
        snapshot: String,
    },
    SnapshotMissing {
        snapshot: String,
    },
    SnapshotNotTaken {
        snapshot: String,
    },
    SnapshotWithoutVolume {
        snapshot: String,
    },
    SnapshotNeedsVolume {
        snapshot: String,
        volumes: Vec<String>,
    },
    SnapshotElsewhere {
        snapshot: String,
        pool: String,
    },
    SnapshotLarger {
        snapshot: String,
        source: String,
        size: String,
    },
    RestoreWaits {
        vm: String,
    },
    RestoreWaitsForGrant,
    Restoring {
        volume: String,
        order: String,
    },

    // Network.
    ZoneMissing {
        zone: String,
    },
    ZoneCarriesNoMachines {
        zone: String,
        kind: String,
    },
    ZoneWithoutPool {
        zone: String,
    },
    ZonePoolFull {
        zone: String,
        pool: String,
    },
    PrefixNotPrivate {
        prefix: String,
    },
    PrefixOverlaps {
        prefix: String,
        other: String,
        subnet: String,
    },
    PrefixLength {
        prefix: String,
    },
    PrefixTaken {
        prefix: String,
        zone: String,
    },
    VnisUsedUp,
    ZonePoolsOverlap {
        zone: String,
        other: String,
    },

    // Platform.
    NamespaceForeign {
        namespace: String,
    },
    NamespaceDeleting {
        namespace: String,
    },
    Carries {
        roles: String,
    },
    Maintenance,
    ObjectRefused {
        what: String,
        why: String,
    },
    MachinesNotReady {
        ready: usize,
        wanted: usize,
    },
    RolesDiffer {
        asked: String,
        found: String,
    },

    // Requests.
    RequestTemplate {
        object: String,
        error: String,
    },
    RequestDraft,
    RequestWaits {
        role: DecisionRole,
        name: String,
        hash: String,
    },
    RequestRejected {
        by: String,
        why: String,
    },
    RequestWithdrawn {
        by: String,
    },
    RequestChanged,
    RequestBuilding {
        waiting: Vec<String>,
    },
    RequestProvisioned,
    RequestStrayed {
        lines: Vec<String>,
    },
    ApprovalCounts,
    ApprovalOfNothing {
        request: String,
    },
    ApprovalByAuthor {
        request: String,
        approver: String,
    },
    ApprovalOfOther {
        request: String,
    },
}
