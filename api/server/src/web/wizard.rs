//! The form of a request, read: from rows of machines and volumes to the objects that are asked
//! for. Pure.
//!
//! Only what an officer has to decide is asked; everything else is as in a manifest that does not
//! say. What is wrong is named by the label of its field, in the reader's language.

use serde_json::{Map, Value, json};

use super::form::Form;
use crate::language::Language;
use crate::problem::Fault;
use crate::resources::requests::{Document, NewResourceRequest, Wanted, Wish, WishKind};
use crate::rights::is_name;

/// Rows of machines, and of volumes beside those of machines.
pub const MACHINES: usize = 6;
pub const VOLUMES: usize = 3;
/// Machines of one row.
const MOST: u32 = 8;
/// GiB of one volume.
pub const LARGEST: u64 = 65_536;
/// Before the name of a zone, where a subnet is to be made in it.
pub const NEW_SUBNET: &str = "zone:";

/// The name of a field of a row.
#[must_use]
pub fn field(row: &str, at: usize, what: &str) -> String {
    format!("{row}{at}-{what}")
}

/// What is wrong with a name that was entered, under the label of its field.
#[must_use]
pub fn name_fault(language: Language, name: &str, (vi, en): (&str, &str)) -> Option<Fault> {
    let (rule_vi, rule_en) = NAME_RULE;
    let fault = || Fault::new(language.pick(vi, en), language.pick(rule_vi, rule_en));
    (!is_name(name)).then(fault)
}

/// What is asked for, or all that is wrong with it.
pub fn read(language: Language, form: &Form) -> Result<NewResourceRequest, Vec<Fault>> {
    let mut reading = Reading {
        language,
        form,
        objects: Vec::new(),
        faults: Vec::new(),
    };
    let name = reading.name("name", ("Tên yêu cầu", "Name of the request"));
    let reason = reading.text("reason", ("Lý do", "Reason"));
    let system = reading.system();
    for at in 0..MACHINES {
        reading.machines(at, &system, &name);
    }
    for at in 0..VOLUMES {
        reading.volume(at, &system);
    }
    let document = reading.document();
    if reading.objects.is_empty() {
        reading.wrong(
            ("Nội dung", "Content"),
            (
                "cần ít nhất một máy ảo hoặc ổ đĩa",
                "at least one machine or volume",
            ),
        );
    }
    let given = |name: &str| Some(form.get(name).to_owned()).filter(|text| !text.is_empty());
    let Reading {
        objects, faults, ..
    } = reading;
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(NewResourceRequest {
        name,
        wanted: match form.get("wanted") {
            "Submitted" => Wanted::Submitted,
            _ => Wanted::Draft,
        },
        reason,
        document,
        needed_by: given("needed-by"),
        // To the end of the day in the province.
        lease_until: given("lease-until").map(|day| format!("{day}T23:59:59+07:00")),
        objects,
    })
}

/// A text in both languages.
type Both = (&'static str, &'static str);

const NAME_RULE: Both = (
    "chữ thường không dấu, số và dấu gạch nối, tối đa 63 ký tự",
    "lower-case letters, digits and hyphens, at most 63",
);
const MISSING: Both = ("chưa nhập", "is missing");

struct Reading<'a> {
    language: Language,
    form: &'a Form,
    objects: Vec<Wish>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn say(&self, both: Both) -> String {
        self.language.pick(both.0, both.1).to_owned()
    }

    fn wrong(&mut self, label: Both, what: Both) {
        let fault = Fault::new(self.say(label), self.say(what));
        self.faults.push(fault);
    }

    fn text(&mut self, field: &str, label: Both) -> String {
        let text = self.form.get(field).to_owned();
        if text.is_empty() {
            self.wrong(label, MISSING);
        }
        text
    }

    fn name(&mut self, field: &str, label: Both) -> String {
        let name = self.form.get(field).to_owned();
        if !is_name(&name) {
            self.wrong(label, NAME_RULE);
        }
        name
    }

    /// In GiB, as a manifest writes it.
    fn size(&mut self, field: &str, label: Both) -> String {
        let size = self.form.get(field).parse::<u64>().unwrap_or_default();
        if !(1..=LARGEST).contains(&size) {
            self.wrong(label, ("số GiB, từ 1 đến 65536", "GiB, from 1 to 65536"));
        }
        format!("{size}Gi")
    }

    fn add(&mut self, kind: WishKind, name: &str, spec: Value) {
        let spec = match spec {
            Value::Object(spec) => spec,
            _ => Map::new(),
        };
        let known = |wish: &Wish| wish.kind == kind && wish.name == name;
        if self.objects.iter().any(known) {
            return self.wrong(
                ("Tên", "Name"),
                ("hai dòng có cùng tên", "two rows have the same name"),
            );
        }
        self.objects.push(Wish {
            kind,
            name: name.to_owned(),
            spec,
        });
    }

    /// One that is there, or a new one, which is asked for as well.
    fn system(&mut self) -> String {
        let there = self.form.get("system").to_owned();
        if !there.is_empty() {
            if !is_name(&there) {
                self.wrong(("Hệ thống", "System"), NAME_RULE);
            }
            return there;
        }
        let name = self.name("system-name", ("Mã hệ thống mới", "Name of the new system"));
        let vi = self.text("system-vi", ("Tên tiếng Việt", "Vietnamese title"));
        let en = match self.form.get("system-en") {
            "" => vi.clone(),
            en => en.to_owned(),
        };
        let mut spec = json!({ "displayName": { "vi": vi, "en": en } });
        match self.form.get("system-level") {
            "" => {}
            level => match level.parse::<u8>() {
                Ok(level @ 1..=5) => spec["securityLevel"] = json!(level),
                _ => self.wrong(
                    ("Cấp độ an toàn", "Security level"),
                    ("từ 1 đến 5", "from 1 to 5"),
                ),
            },
        }
        self.add(WishKind::InformationSystem, &name, spec);
        name
    }

    fn machines(&mut self, at: usize, system: &str, request: &str) {
        let field = |what: &str| field("m", at, what);
        if self.form.get(&field("name")).is_empty() {
            return;
        }
        let name = self.name(&field("name"), ("Tên máy ảo", "Machine's name"));
        let class = self.name(&field("class"), ("Cấu hình", "Class"));
        let image = self.name(&field("image"), ("Hệ điều hành", "Image"));
        let pool = self.name(&field("pool"), ("Vùng lưu trữ", "Pool"));
        let root = self.size(&field("root"), ("Ổ hệ thống", "System disk"));
        let mut disks = vec![json!({ "name": "root", "template":
            { "pool": pool, "size": root, "source": { "image": image } } })];
        if !self.form.get(&field("data")).is_empty() {
            let data = self.size(&field("data"), ("Ổ dữ liệu", "Data disk"));
            disks.push(json!({ "name": "data", "template": { "pool": pool, "size": data } }));
        }
        let mut interface = json!({ "subnet": self.subnet(&field("subnet"), system, request) });
        let publish = self.form.get(&field("publish"));
        let publish: Vec<&str> = publish
            .split([',', ' '])
            .filter(|service| !service.is_empty())
            .collect();
        if !publish.is_empty() {
            interface["publish"] = json!(publish);
        }
        let mut spec = json!({ "system": system, "class": class, "disks": disks,
                               "interfaces": [interface] });
        let count = match self.form.get(&field("count")) {
            "" => 1,
            count => count.parse::<u32>().unwrap_or_default(),
        };
        match count {
            1 => self.add(WishKind::VirtualMachine, &name, spec),
            2..=MOST => {
                // What is there more than once is to outlive one host.
                spec["spreadGroup"] = json!(name);
                for number in 1..=count {
                    let name = format!("{name}-{number}");
                    self.add(WishKind::VirtualMachine, &name, spec.clone());
                }
            }
            _ => self.wrong(("Số lượng", "How many"), ("từ 1 đến 8", "from 1 to 8")),
        }
    }

    /// One that is there, or a new one of the request in this zone.
    fn subnet(&mut self, field: &str, system: &str, request: &str) -> String {
        let chosen = self.form.get(field).to_owned();
        let Some(zone) = chosen.strip_prefix(NEW_SUBNET) else {
            return self.name(field, ("Mạng con", "Subnet"));
        };
        if !is_name(zone) {
            self.wrong(("Mạng con", "Subnet"), NAME_RULE);
        }
        let name = format!("{request}-{zone}");
        let known = |wish: &Wish| wish.kind == WishKind::Subnet && wish.name == name;
        if !self.objects.iter().any(known) {
            let spec = json!({ "system": system, "zone": zone });
            self.add(WishKind::Subnet, &name, spec);
        }
        name
    }

    fn volume(&mut self, at: usize, system: &str) {
        let field = |what: &str| field("v", at, what);
        if self.form.get(&field("name")).is_empty() {
            return;
        }
        let name = self.name(&field("name"), ("Tên ổ đĩa", "Volume's name"));
        let pool = self.name(&field("pool"), ("Vùng lưu trữ", "Pool"));
        let size = self.size(&field("size"), ("Dung lượng", "Size"));
        let spec = json!({ "system": system, "pool": pool, "size": size });
        self.add(WishKind::Volume, &name, spec);
    }

    fn document(&mut self) -> Option<Document> {
        let fields = ["document-number", "document-date", "document-issuer"];
        let [number, date, issuer] = fields.map(|field| self.form.get(field).to_owned());
        let given = [&number, &date, &issuer];
        if given.iter().all(|text| text.is_empty()) {
            return None;
        }
        if given.iter().any(|text| text.is_empty()) {
            self.wrong(
                ("Văn bản", "Document"),
                (
                    "cần đủ số, ngày và cơ quan ban hành",
                    "its number, date and issuer together",
                ),
            );
        }
        Some(Document {
            number,
            date,
            issuer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTAL: &str = "name=portal&wanted=Submitted&reason=C%E1%BB%95ng&\
        system=&system-name=portal&system-vi=C%E1%BB%95ng&system-en=&system-level=2&\
        m0-name=portal-web&m0-count=2&m0-class=small&m0-image=debian&m0-pool=san-1&m0-root=20&\
        m0-data=&m0-subnet=zone:dmz&m0-publish=http,+https&\
        m1-name=portal-app&m1-count=1&m1-class=medium&m1-image=debian&m1-pool=san-1&m1-root=20&\
        m1-data=&m1-subnet=app&m1-publish=&\
        m2-name=portal-db&m2-count=&m2-class=large&m2-image=debian&m2-pool=san-1&m2-root=20&\
        m2-data=200&m2-subnet=app&m2-publish=&m3-name=&v0-name=&\
        document-number=12/TTr&document-date=2027-01-15&document-issuer=SNNMT&\
        needed-by=2027-03-01&lease-until=2029-12-31";

    fn read_text(text: &str) -> Result<NewResourceRequest, Vec<Fault>> {
        read(Language::English, &Form::parse(text.as_bytes()))
    }

    #[test]
    fn a_portal_is_asked_for_whole() {
        let new = read_text(PORTAL).unwrap();
        assert_eq!(new.wanted, Wanted::Submitted);
        let names: Vec<_> = new.objects.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "portal",
                "portal-dmz",
                "portal-web-1",
                "portal-web-2",
                "portal-app",
                "portal-db"
            ]
        );
        let web = &new.objects[2].spec;
        assert_eq!(web["interfaces"][0]["subnet"], "portal-dmz");
        assert_eq!(web["interfaces"][0]["publish"], json!(["http", "https"]));
        assert_eq!(web["spreadGroup"], "portal-web");
        let database = &new.objects[5].spec;
        assert_eq!(database["disks"][1]["template"]["size"], "200Gi");
        assert_eq!(new.document.unwrap().number, "12/TTr");
        assert_eq!(new.lease_until.unwrap(), "2029-12-31T23:59:59+07:00");
    }

    /// What the API server takes for these kinds, the form makes.
    #[test]
    fn what_is_asked_for_is_of_the_kinds_as_they_are() {
        for one in read_text(PORTAL).unwrap().objects {
            let spec = Value::Object(one.spec);
            let read = match one.kind {
                WishKind::InformationSystem => {
                    serde_json::from_value::<dc_crds::InformationSystemSpec>(spec).map(drop)
                }
                WishKind::Subnet => serde_json::from_value::<dc_crds::SubnetSpec>(spec).map(drop),
                WishKind::Volume => serde_json::from_value::<dc_crds::VolumeSpec>(spec).map(drop),
                WishKind::VirtualMachine => {
                    serde_json::from_value::<dc_crds::VirtualMachineSpec>(spec).map(drop)
                }
            };
            assert!(read.is_ok(), "{}: {read:?}", one.name);
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let faults = read_text("system=a01&m0-name=B%C3%A0&m0-root=x&document-number=1");
        let faults = faults.unwrap_err();
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        for field in [
            "Name of the request",
            "Reason",
            "Machine's name",
            "System disk",
        ] {
            assert!(fields.contains(&field), "{field}: {fields:?}");
        }
        assert!(fields.contains(&"Document"), "{fields:?}");
        let empty = read_text("name=x&reason=y&system=a01").unwrap_err();
        assert_eq!(empty[0].field, "Content");
        let twice = "name=x&reason=y&system=a01&v0-name=d&v0-pool=p&v0-size=1\
                     &v1-name=d&v1-pool=p&v1-size=1";
        assert_eq!(read_text(twice).unwrap_err().len(), 1);
    }
}
