//! The pvpanic device, by which a guest's kernel says that it panicked, and what then happens.

use dc_types::plan::OnStop;

use super::Element;

#[must_use]
pub fn render_panic() -> Element {
    Element::new("panic").attr("model", "isa")
}

/// A machine that is to stay as it stopped keeps its memory for those who look into it; any other
/// goes, and is started again.
#[must_use]
pub fn render_on_crash(policy: OnStop) -> Element {
    Element::new("on_crash").text(match policy {
        OnStop::Stay => "preserve",
        OnStop::Restart | OnStop::RestartOnFailure => "destroy",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_noticed_and_kept_only_where_nobody_restarts_it() {
        assert_eq!(render_panic().render(), "<panic model=\"isa\"/>\n");
        for (policy, action) in [
            (OnStop::Stay, "preserve"),
            (OnStop::Restart, "destroy"),
            (OnStop::RestartOnFailure, "destroy"),
        ] {
            let xml = render_on_crash(policy).render();
            assert_eq!(xml, format!("<on_crash>{action}</on_crash>\n"));
        }
    }
}
