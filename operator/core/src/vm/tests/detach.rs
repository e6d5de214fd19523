//! What is taken off a running machine is given to nobody while its host may have it open.

use super::*;

#[test]
fn a_disk_taken_off_stays_granted_until_the_host_has_let_go_of_it() {
    let mut sim = running();
    sim.add_volume("data", "2Gi");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    let data = crate::volume::id(&object_ref(&sim, "data"));
    let epoch = |sim: &Sim| sim.ledger.claims.attachments.get(&data).map(|a| a.epoch);
    let granted = epoch(&sim);
    assert!(granted.is_some());
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();

    sim.set_silent(on.as_str(), true);
    sim.vm("web").spec.disks.pop();
    sim.look();
    assert_eq!(epoch(&sim), granted, "a silent host may have it open");

    // The host has the item without the disk, and its guest does not let go.
    let item = sim.boards[&on][&key(&me)].clone();
    let sim_host = sim.hosts.get_mut(&on).unwrap();
    sim_host.said.insert(item.key, fail(&item, "DiskHeld"));
    sim_host.held.insert(item.key, item);
    sim.set_silent(on.as_str(), false);
    sim.look();
    assert_eq!(epoch(&sim), granted);
    let storage = &sim.hosts[&host(STORAGE)];
    assert!(storage.held.contains_key(&grant_key(data)));

    // Wanted again before it was let go of, it is the same attachment: nothing is fenced.
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert_eq!(epoch(&sim), granted);

    sim.vm("web").spec.disks.pop();
    sim.look();
    assert_eq!(epoch(&sim), None, "the host has said that it is gone");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert!(epoch(&sim) > granted);
}
