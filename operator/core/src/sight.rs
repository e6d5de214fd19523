//! How one item stands on its host, from what the host last said of it.

use dc_types::HostName;
use dc_types::plan::Item;
use dc_types::report::{Detail, ItemState, Observation};

use crate::place::Presence;
use crate::words::{Fact, Standing};

/// What is known of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The host has what was last asked of it.
    AsAsked(Detail),
    /// Asked, not answered for what was last asked.
    OnTheWay(Detail),
    /// Something is to be told.
    Told(Fact),
}

impl Sight {
    #[must_use]
    pub fn is_as_asked(&self) -> bool {
        matches!(self, Sight::AsAsked(_))
    }
}

/// Judges what `host` said of `item`. What a silent host said before is not what is so now.
#[must_use]
pub fn of_item(
    host: &HostName,
    presence: Presence,
    item: &Item,
    said: Option<&Observation>,
) -> Sight {
    match presence {
        Presence::Silent => {
            return Sight::Told(Fact::HostSilent {
                host: host.to_string(),
            });
        }
        Presence::Never => {
            return Sight::Told(Fact::HostNeverSeen {
                host: host.to_string(),
            });
        }
        Presence::Connected => {}
    }
    let Some(said) = said else {
        return Sight::OnTheWay(Detail::None);
    };
    if said.epoch != item.epoch || said.hash != item.hash() {
        return Sight::OnTheWay(said.detail.clone());
    }
    let says = |standing, trouble: &dc_types::report::Trouble| {
        Sight::Told(Fact::HostSays {
            host: host.to_string(),
            standing,
            reason: trouble.reason.clone(),
            message: trouble.message.clone(),
        })
    };
    match &said.state {
        ItemState::Ready => Sight::AsAsked(said.detail.clone()),
        ItemState::Pending(trouble) => says(Standing::Moving, trouble),
        ItemState::Failed(trouble) => says(Standing::Troubled, trouble),
    }
}

/// How far the removal of one item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// No release stands in the ledger, and none was confirmed that we know of.
    NotAsked,
    /// The release waits for the host.
    Pending,
    /// The host has confirmed it.
    Done,
}
