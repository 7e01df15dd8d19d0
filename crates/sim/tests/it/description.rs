//! The description of the control interface, against the interface itself and against what is written for people.

use holdfast_sim::{Options, Simulator};
use serde_json::{Value, json};

use crate::control::call;

/// Each route of the description: method, path, and what it says.
fn routes(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(|(method, route)| (method.to_uppercase(), path.clone(), route.clone()))
    });
    methods.collect()
}

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_route_that_is_described_exists_and_says_what_it_takes() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (status, document) = call(&simulator, "GET", "/openapi.json", "").await;
    assert_eq!(status, 200);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 40);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
    let routes = routes(&document);
    assert!(routes.len() > 25);
    for (method, path, route) in routes {
        assert!(route["summary"].is_string(), "{method} {path} says nothing of itself");
        if route.get("requestBody").is_some() {
            // Read, and refused for its one field: a body is taken there.
            let (status, answer) = call(&simulator, &method, &path, &json!({ "nothingLikeThis": 1 }).to_string()).await;
            assert_eq!(status, 400, "{method} {path}: {answer}");
            assert!(answer["error"].as_str().unwrap().len() > 20, "{answer}");
        } else if path != "/wait" {
            let (status, _) = call(&simulator, &method, &path, "").await;
            assert_eq!(status, 200, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_route_and_every_kind_of_event_stands_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator.md")).unwrap();
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let (_, document) = call(&simulator, "GET", "/openapi.json", "").await;
    for (method, path, _) in routes(&document) {
        let written = [" ", "[", "`", "/"].iter().any(|end| page.contains(&format!("`{method} {path}{end}")));
        assert!(written, "{method} {path} is not in docs/simulator.md");
    }
    for (schema, what) in [("EventKind", "kind of event"), ("RefuseMode", "way to refuse")] {
        for name in document["components"]["schemas"][schema]["enum"].as_array().unwrap() {
            assert!(
                page.contains(&format!("`{}`", name.as_str().unwrap())),
                "the {what} {name} is not in docs/simulator.md"
            );
        }
    }
    for name in ["Rules", "Tally", "TrafficRequest"] {
        for field in document["components"]["schemas"][name]["properties"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{field}")), "{name}.{field} is not in docs/simulator.md");
        }
    }
}
