//! X-Ray's trace header in W3C's form.

/// The `traceparent` of an X-Ray trace header such as
/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`; none if it is not of
/// that form.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(crate) fn traceparent(header: &str) -> Option<String> {
    let (mut root, mut parent, mut flags) = (None, None, "00");
    for field in header.split(';') {
        match field.trim().split_once('=')? {
            ("Root", value) => root = Some(value),
            ("Parent", value) => parent = Some(value),
            ("Sampled", "1") => flags = "01",
            _ => {}
        }
    }
    let (time, unique) = root?.strip_prefix("1-")?.split_once('-')?;
    let trace = format!("{}{}", hex(time, 8)?, hex(unique, 24)?);
    let parent = hex(parent?, 16)?;
    // W3C has no ids of zeroes.
    let valid = [&trace, &parent].iter().all(|id| id.bytes().any(|digit| digit != b'0'));
    valid.then(|| format!("00-{trace}-{parent}-{flags}"))
}

/// So many hexadecimal digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<String> {
    let fits = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_becomes_a_traceparent_whatever_the_order_of_its_fields() {
        for (header, flags) in [
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", "01"),
            ("Sampled=0;Parent=53995C3F42CD8AD8; Root=1-5759E988-BD862E3FE1BE46A994272793", "00"),
            (
                "Self=1-1-1;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Lineage=a:0",
                "00",
            ),
        ] {
            let expected = format!("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-{flags}");
            assert_eq!(traceparent(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn what_is_no_such_header_is_none() {
        for header in [
            "",
            "Root",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e98-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a99427279g;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8adü",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000",
            "Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(traceparent(header), None, "{header}");
        }
    }
}
