//! The serial console: a terminal for people, and a log file that outlives every start.

use std::path::Path;

use super::Element;

#[must_use]
pub fn render_serial(log: &Path) -> [Element; 2] {
    let port = |kind| Element::new("target").attr("type", kind).attr("port", 0);
    [
        Element::new("serial")
            .attr("type", "pty")
            .child(
                Element::new("log")
                    .attr("file", log.display())
                    .attr("append", "on"),
            )
            .child(port("isa-serial")),
        Element::new("console")
            .attr("type", "pty")
            .child(port("serial")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_a_terminal_whose_output_is_appended_to_a_log() {
        let [serial, console] = render_serial(Path::new("/consoles/1.log"));
        let xml = serial.render();
        assert!(
            xml.contains("<log file=\"/consoles/1.log\" append=\"on\"/>"),
            "{xml}"
        );
        assert!(xml.starts_with("<serial type=\"pty\">"), "{xml}");
        let xml = console.render();
        assert!(
            xml.contains("<target type=\"serial\" port=\"0\"/>"),
            "{xml}"
        );
    }
}
