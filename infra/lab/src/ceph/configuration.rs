//! The cluster's one configuration file.

use uuid::Uuid;

use super::{Ceph, CephSpec, MONITOR_PORTS};
/// The manager's modules that are not always on: each takes memory, and nobody asks them here.
const UNUSED_MODULES: &[&str] = &[
    "alerts",
    "influx",
    "insights",
    "iostat",
    "localpool",
    "mirroring",
    "nfs",
    "osd_perf_query",
    "osd_support",
    "prometheus",
    "restful",
    "selftest",
    "snap_schedule",
    "stats",
    "telegraf",
    "test_orchestrator",
    "zabbix",
];

/// What an OSD may take for its caches, in bytes. Its own default is four times that.
const OSD_MEMORY: u64 = 896 << 20;

pub(super) fn render(ceph: &Ceph, cluster: Uuid, spec: &CephSpec) -> String {
    let folder = ceph.folder.display();
    let monitors = monitor_addresses(ceph);
    let address = ceph.address;
    let run_dir = ceph.run_dir();
    let run_dir = run_dir.display();
    let size = spec.size_gib << 30;
    let unused = UNUSED_MODULES.join(" ");
    format!(
        "[global]\n\
         fsid = {cluster}\n\
         mon_host = {monitors}\n\
         public_network = {address}/32\n\
         keyring = {folder}/$name.keyring\n\
         run_dir = {run_dir}\n\
         admin_socket = {run_dir}/$name.$pid.asok\n\
         log_file =\n\
         mon_cluster_log_file =\n\
         auth_cluster_required = cephx\n\
         auth_service_required = cephx\n\
         auth_client_required = cephx\n\
         auth_allow_insecure_global_id_reclaim = false\n\
         # One copy on one OSD, and no warning that this is so.\n\
         osd_pool_default_size = 1\n\
         osd_pool_default_min_size = 1\n\
         osd_pool_default_pg_autoscale_mode = off\n\
         mon_allow_pool_size_one = true\n\
         mon_allow_pool_delete = true\n\
         mon_warn_on_pool_no_redundancy = false\n\
         osd_crush_chooseleaf_type = 0\n\
         [mon]\n\
         admin_socket = {run_dir}/$name.asok\n\
         mon_data = {folder}/monitor\n\
         # The disk under a lab is often fuller than a monitor's own would be.\n\
         mon_data_avail_warn = 2\n\
         mon_data_avail_crit = 1\n\
         # One monitor agrees with itself at once.\n\
         paxos_propose_interval = 0.05\n\
         paxos_min_wait = 0.01\n\
         mgr_disabled_modules = {unused}\n\
         [mgr]\n\
         admin_socket = {run_dir}/$name.asok\n\
         mgr_data = {folder}/manager\n\
         mgr_stats_period = 1\n\
         mgr_disabled_modules = {unused}\n\
         [osd]\n\
         admin_socket = {run_dir}/$name.asok\n\
         osd_data = {folder}/osd\n\
         osd_class_update_on_start = false\n\
         osd_memory_target = {OSD_MEMORY}\n\
         # What a pool held is given back at once when it is deleted.\n\
         osd_delete_sleep_hdd = 0\n\
         osd_delete_sleep_ssd = 0\n\
         osd_delete_sleep_hybrid = 0\n\
         bluestore_block_size = {size}\n"
    )
}

/// Both versions of the protocol, as monitor maps and configurations write them.
pub(super) fn monitor_addresses(ceph: &Ceph) -> String {
    let address = ceph.address;
    let [second, first] = MONITOR_PORTS;
    format!("[v2:{address}:{second},v1:{address}:{first}]")
}
