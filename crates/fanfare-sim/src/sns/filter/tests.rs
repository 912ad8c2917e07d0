use std::collections::BTreeMap;

use super::*;
use crate::engine::content::{Attribute, AttributeValue};

fn attributes(given: &[(&str, &str, &str)]) -> Attributes {
    let attribute = |(name, data_type, value): &(&str, &str, &str)| {
        let value = match *data_type {
            "Binary" => AttributeValue::Binary(value.as_bytes().to_vec()),
            _ => AttributeValue::String((*value).to_owned()),
        };
        ((*name).to_owned(), Attribute { data_type: (*data_type).to_owned(), value })
    };
    given.iter().map(attribute).collect()
}

#[test]
fn operators_on_attributes_follow_the_table() {
    let text = |value| ("String", value);
    let table = [
        (r#"["red"]"#, text("red"), true),
        (r#"["red"]"#, text("Red"), false),
        (r#"["red","blue"]"#, text("blue"), true),
        (r#"[{"prefix":"shop.orders."}]"#, text("shop.orders.OrderPlaced.v2"), true),
        (r#"[{"prefix":"shop.orders."}]"#, text("shop.order"), false),
        (r#"[{"suffix":".v1"}]"#, text("a.v1"), true),
        (r#"[{"suffix":".v1"}]"#, text("a.v12"), false),
        (r#"[{"equals-ignore-case":"Red"}]"#, text("rED"), true),
        (r#"[{"equals-ignore-case":"Red"}]"#, text("reds"), false),
        (r#"[{"wildcard":"shop.*.Order*"}]"#, text("shop.orders.OrderPlaced"), true),
        (r#"[{"wildcard":"shop.*.Order*"}]"#, text("shop.Order"), false),
        (r#"[{"wildcard":"a\\*c"}]"#, text("a*c"), true),
        (r#"[{"wildcard":"a\\*c"}]"#, text("abc"), false),
        (r#"[{"wildcard":"ab*ba"}]"#, text("aba"), false),
        (r#"[{"anything-but":"red"}]"#, text("blue"), true),
        (r#"[{"anything-but":["red","blue"]}]"#, text("blue"), false),
        (r#"[{"anything-but":{"prefix":"order-"}}]"#, text("order-1"), false),
        (r#"[{"anything-but":{"suffix":["-a","-b"]}}]"#, text("order-c"), true),
        (r#"[{"anything-but":{"wildcard":"*-b"}}]"#, text("order-b"), false),
        (r#"[{"cidr":"10.0.0.0/24"}]"#, text("10.0.0.255"), true),
        (r#"[{"cidr":"10.0.0.0/24"}]"#, text("10.0.1.0"), false),
        (r#"[{"cidr":"2001:db8::/32"}]"#, text("2001:db8:1::1"), true),
        (r#"[{"cidr":"0.0.0.0/0"}]"#, text("1.2.3.4"), true),
        (r#"[{"numeric":["=",3]}]"#, ("Number", "3.0"), true),
        (r#"[{"numeric":[">",0,"<=",150]}]"#, ("Number", "150"), true),
        (r#"[{"numeric":[">",0,"<=",150]}]"#, ("Number", "0"), false),
        (r#"[{"numeric":["<",0]}]"#, ("Number.int", "-1"), true),
        (r#"[100]"#, ("Number", "100"), true),
        // A string is no number, and the other way round.
        (r#"[100]"#, text("100"), false),
        (r#"["100"]"#, ("Number", "100"), false),
        (r#"[{"exists":true}]"#, text("x"), true),
        (r#"[{"exists":false}]"#, text("x"), false),
        // Binary attributes do not exist for policies.
        (r#"[{"exists":true}]"#, ("Binary", "x"), false),
        (r#"["tennis"]"#, ("String.Array", r#"["rugby","tennis"]"#), true),
        (r#"["golf"]"#, ("String.Array", r#"["rugby","tennis"]"#), false),
        (r#"[null]"#, ("String.Array", r#"[1,null]"#), true),
        (r#"[true]"#, ("String.Array", r#"[true]"#), true),
        (r#"[{"anything-but":["rugby"]}]"#, ("String.Array", r#"["rugby","tennis"]"#), true),
        (r#"["x"]"#, ("String.Array", "not json"), false),
    ];
    for (conditions, (data_type, value), expected) in table {
        let policy = format!(r#"{{"key":{conditions}}}"#);
        let policy = FilterPolicy::parse(&policy, Scope::Attributes)
            .unwrap_or_else(|error| panic!("{conditions}: {error}"));
        let attributes = attributes(&[("key", data_type, value)]);
        assert_eq!(
            policy.matches(&attributes, ""),
            expected,
            "{conditions} on {data_type} {value}"
        );
    }
}

#[test]
fn all_keys_must_match_and_a_missing_one_does_not() {
    let policy = r#"{"color":["red"],"size":[{"exists":false}]}"#;
    let policy = FilterPolicy::parse(policy, Scope::Attributes).unwrap();
    assert!(policy.matches(&attributes(&[("color", "String", "red")]), ""));
    assert!(
        !policy.matches(&attributes(&[("color", "String", "red"), ("size", "String", "L")]), "")
    );
    assert!(!policy.matches(&BTreeMap::new(), ""));
}

#[test]
fn or_holds_if_one_alternative_does() {
    let policy = r#"{"source":["shop"],"$or":[{"color":["red"]},{"size":[{"numeric":[">",9]}]}]}"#;
    let policy = FilterPolicy::parse(policy, Scope::Attributes).unwrap();
    let shop = ("source", "String", "shop");
    assert!(policy.matches(&attributes(&[shop, ("color", "String", "red")]), ""));
    assert!(policy.matches(&attributes(&[shop, ("size", "Number", "10")]), ""));
    assert!(!policy.matches(&attributes(&[shop, ("size", "Number", "9")]), ""));
    assert!(!policy.matches(&attributes(&[("color", "String", "red")]), ""));
}

#[test]
fn body_policies_reach_into_objects_and_arrays() {
    let table = [
        (r#"{"order":{"total":[{"numeric":[">=",10]}]}}"#, r#"{"order":{"total":10}}"#, true),
        (r#"{"order":{"total":[{"numeric":[">=",10]}]}}"#, r#"{"order":{"total":9.99}}"#, false),
        (r#"{"order":{"total":[10]}}"#, r#"{"order":10}"#, false),
        (r#"{"tags":["new"]}"#, r#"{"tags":["old","new"]}"#, true),
        (
            r#"{"lines":{"sku":["a"],"n":[2]}}"#,
            r#"{"lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}"#,
            false,
        ),
        (
            r#"{"lines":{"sku":["a"],"n":[1]}}"#,
            r#"{"lines":[{"sku":"a","n":1},{"sku":"b","n":2}]}"#,
            true,
        ),
        (r#"{"a":{"b":[{"exists":false}]}}"#, r#"{}"#, true),
        (r#"{"a":{"b":[{"exists":false}]}}"#, r#"{"a":{"b":null}}"#, false),
        (r#"{"a":[{"exists":true}]}"#, r#"{"a":{"b":1}}"#, false),
        (r#"{"a":[null]}"#, r#"{"a":null}"#, true),
        (r#"{"a":[true]}"#, r#"{"a":"true"}"#, false),
        (r#"{"a":[{"anything-but":[1,"x"]}]}"#, r#"{"a":2}"#, true),
        (r#"{"a":[1]}"#, "not json", false),
        (r#"{"a":[1]}"#, "[1]", false),
    ];
    for (policy, body, expected) in table {
        let parsed = FilterPolicy::parse(policy, Scope::Body).unwrap();
        assert_eq!(parsed.matches(&BTreeMap::new(), body), expected, "{policy} on {body}");
    }
}

#[test]
fn illegal_policies_are_refused_with_their_reason() {
    let six = r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#;
    let values: Vec<String> = (0..13).map(|n| n.to_string()).collect();
    let complex = format!(r#"{{"a":[{0}],"b":[{0}]}}"#, values.join(","));
    let table = [
        ("not json", "failed to parse JSON."),
        ("[1]", "failed to parse JSON."),
        (six, "Filter policy can not have more than 5 keys"),
        (complex.as_str(), "Filter policy is too complex"),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":"x"}"#, "\"a\" must be an object or an array"),
        (
            r#"{"a":{"b":[1]}}"#,
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ),
        (r#"{"a":[[1]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a":[{"like":"x"}]}"#, "Unrecognized match type like"),
        (r#"{"a":[{"prefix":"x","suffix":"y"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a":[{"exists":"yes"}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a":[{"anything-but":{"exists":true}}]}"#, "Unsupported anything-but pattern: exists"),
        (r#"{"a":[{"numeric":[]}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a":[{"numeric":["<",5,">",1]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a":[{"numeric":[">",5,"<",1]}]}"#, "Bottom must be less than top"),
        (r#"{"a":[{"numeric":[">","5"]}]}"#, "Value of > must be numeric"),
        (r#"{"a":[{"wildcard":"a**"}]}"#, "Consecutive wildcard characters are not allowed"),
        (r#"{"a":[{"cidr":"10.0.0.0"}]}"#, "Malformed CIDR, one '/' required"),
    ];
    for (policy, reason) in table {
        let error = FilterPolicy::parse(policy, Scope::Attributes).unwrap_err();
        assert_eq!(error, reason, "{policy}");
    }
}

#[test]
fn combinations_count_values_alternatives_and_depth() {
    let list = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let nested =
        |a, b| format!(r#"{{"a":{{"b":{{"c":[{}]}}}},"d":{{"e":[{}]}}}}"#, list(a), list(b));
    // 4 values three deep and 3 values two deep: 4 * 3 * 3 * 2 = 72.
    assert!(FilterPolicy::parse(&nested(4, 3), Scope::Body).is_ok());
    assert!(FilterPolicy::parse(&nested(9, 3), Scope::Body).is_err()); // 162
    let or = |a, b| format!(r#"{{"$or":[{{"a":[{}]}},{{"b":[{}]}}]}}"#, list(a), list(b));
    assert!(FilterPolicy::parse(&or(100, 50), Scope::Attributes).is_ok());
    assert!(FilterPolicy::parse(&or(100, 51), Scope::Attributes).is_err());
}
