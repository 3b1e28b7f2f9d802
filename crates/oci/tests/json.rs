//! JSON that is edited: what is not changed stays as it is written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use oci::json::{Error, List, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

fn object(text: &str) -> Object {
    Object::parse(text.as_bytes()).unwrap()
}

#[test]
fn what_is_not_changed_stays_as_written() {
    let pretty = "{\n   \"a\" : 1.10 ,\n   \"b\": [ 1, 2 ],\n   \"\\u0063\": {}\n}\n";
    let mut edited = object(pretty);
    assert_eq!(edited.to_string(), pretty);
    assert_eq!(edited.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    edited.set("d", "new").unwrap();
    let longer = pretty.replace("{}\n}", "{},\n   \"d\": \"new\"\n}");
    assert_eq!(edited.to_string(), longer);
    assert!(edited.remove("d") && !edited.remove("d"));
    assert_eq!(edited.to_string(), pretty);
    edited.remove("a");
    assert_eq!(edited.to_string(), "{\n   \"b\": [ 1, 2 ],\n   \"\\u0063\": {}\n}\n");
    edited.edit_list("b", |list| list.push(&3)).unwrap();
    edited.edit_object("c", |object| object.set("x", &true)).unwrap();
    assert_eq!(edited.to_string(), "{\n   \"b\": [ 1, 2, 3 ],\n   \"\\u0063\": {\"x\":true}\n}\n");
}

#[test]
fn a_value_that_says_the_same_stays() {
    let mut escaped = object(r#"{"a":"\u0061","b":1.0,"c":null}"#);
    escaped.set("a", "a").unwrap();
    escaped.edit_object::<Error>("c", |_| Ok(())).unwrap();
    escaped.edit_object::<Error>("d", |_| Ok(())).unwrap();
    assert_eq!(escaped.to_string(), r#"{"a":"\u0061","b":1.0,"c":null}"#);
    escaped.set("b", &1).unwrap();
    assert_eq!(escaped.text("b"), Some("1"));
    assert_eq!(escaped.read::<String>("a").unwrap().as_deref(), Some("a"));
    assert_eq!(escaped.read::<String>("c").unwrap(), None);
    assert!(escaped.read::<u8>("a").is_err());
}

#[test]
fn items_come_and_go() {
    let text = "[ {\"n\": 1} ,\n  {\"n\": 2},\n  \"x\" ]";
    let mut list = List::parse(text.as_bytes()).unwrap();
    assert_eq!((list.len(), list.to_string().as_str()), (3, text));
    list.edit_objects(|at, item| match at {
        0 => Ok::<_, Error>(false),
        _ => item.set("n", &20).map(|()| true),
    })
    .unwrap();
    assert_eq!(list.to_string(), "[ {\"n\": 20},\n  \"x\" ]");
    list.push_text(" {\"m\" : 1.0} ").unwrap();
    list.keep(1..3);
    assert_eq!(list.to_string(), "[ \"x\",\n  {\"m\" : 1.0} ]");
    assert_eq!(list.read::<Value>().unwrap()[1], json!({"m": 1.0}));
    list.keep(0..0);
    assert_eq!((list.is_empty(), list.to_string().as_str()), (true, "[]"));
}

#[test]
fn other_things_are_refused() {
    for text in ["", "[]", "{", "1", r#"{"a":1,"\u0061":2}"#] {
        assert!(Object::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    assert!(List::parse(b"{}").is_err());
    assert!(object(r#"{"a":[]}"#).edit_object::<Error>("a", |_| Ok(())).is_err());
}

/// JSON as anybody may write it.
fn written() -> impl Strategy<Value = String> {
    let space = || "[ \n\t]{0,2}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.10".to_owned()),
        Just("-0e+1".to_owned()),
        Just(r#""}],\"{\u00e9é""#.to_owned()),
    ];
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let items = proptest::collection::vec((space(), inner, space()), 0..4);
        (items, space(), any::<bool>()).prop_map(|(items, space, is_object)| {
            let label = |at: usize| {
                if is_object { format!("\"k,{{{at}\"{space}:{space}") } else { String::new() }
            };
            let items: Vec<String> = items
                .iter()
                .enumerate()
                .map(|(at, (before, item, after))| format!("{before}{}{item}{after}", label(at)))
                .collect();
            let inside = if items.is_empty() { space.clone() } else { items.join(",") };
            if is_object { format!("{{{inside}}}") } else { format!("[{inside}]") }
        })
    })
}

proptest! {
    #[test]
    fn any_text_survives(text in written(), before in "[ \n]{0,2}", after in "[ \n]{0,2}") {
        let text = format!("{before}{text}{after}");
        if let Ok(object) = Object::parse(text.as_bytes()) {
            prop_assert_eq!(object.to_string(), &*text);
        }
        if let Ok(list) = List::parse(text.as_bytes()) {
            prop_assert_eq!(list.to_string(), &*text);
        }
    }

    /// Edits mean what they mean for any map, in the same order.
    #[test]
    fn edits_are_those_of_a_map(
        text in written(),
        edits in proptest::collection::vec((0..5_usize, proptest::option::of(any::<u8>())), 0..8),
    ) {
        if let Ok(mut object) = Object::parse(text.as_bytes()) {
            let mut map: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
            for (key, value) in edits {
                let key = format!("k,{{{key}");
                if let Some(value) = value {
                    object.set(&key, &value).unwrap();
                    map.insert(key, value.into());
                } else {
                    prop_assert_eq!(object.remove(&key), map.shift_remove(&key).is_some());
                }
                let read: serde_json::Map<String, Value> = serde_json::from_str(&object.to_string()).unwrap();
                prop_assert_eq!(&read, &map);
                prop_assert!(read.keys().eq(map.keys()));
            }
        }
    }
}
