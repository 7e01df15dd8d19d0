use super::*;

fn queue(ids: &[&str]) -> Queue {
    let mut queue = Queue::default();
    for id in ids {
        queue.push((*id).to_owned(), Class::Message, id.as_bytes().to_vec());
    }
    queue
}

fn unsent(queue: &mut Queue) -> Vec<String> {
    queue.take_unsent().into_iter().map(|(id, _, _)| id).collect()
}

#[test]
fn what_was_not_confirmed_is_sent_again_on_the_next_connection() {
    let mut queue = queue(&["a", "b"]);
    assert_eq!(unsent(&mut queue), ["a", "b"]);
    assert!(unsent(&mut queue).is_empty());
    assert!(queue.confirm("a", Class::Message, Confirmation::Receipt));
    queue.restart();
    assert_eq!(unsent(&mut queue), ["b"]);
    assert_eq!(queue.messages(), 1);
}

#[test]
fn a_refusal_takes_a_message_from_the_queue_like_any_confirmation() {
    let mut queue = queue(&["a"]);
    unsent(&mut queue);
    assert!(queue.confirm("a", Class::Message, Confirmation::Ack));
    assert_eq!(queue.messages(), 0);
    queue.restart();
    assert!(unsent(&mut queue).is_empty());
}

#[test]
fn the_second_confirmation_of_one_delivery_does_not_confirm_the_next_delivery_of_the_same_id() {
    let mut queue = queue(&["a"]);
    unsent(&mut queue);
    assert!(queue.confirm("a", Class::Message, Confirmation::Receipt), "a retry receipt");
    queue.push("a".to_owned(), Class::Message, b"again".to_vec());
    assert_eq!(unsent(&mut queue), ["a"]);
    assert!(!queue.confirm("a", Class::Message, Confirmation::Ack), "the acknowledgement of the first delivery");
    assert_eq!(queue.messages(), 1);
    assert!(queue.confirm("a", Class::Message, Confirmation::Receipt), "the receipt for the second delivery");
    assert_eq!(queue.messages(), 0);
}

#[test]
fn a_message_may_be_confirmed_before_it_is_sent_again() {
    let mut queue = queue(&["a"]);
    unsent(&mut queue);
    queue.restart();
    assert!(queue.confirm("a", Class::Message, Confirmation::Receipt));
    assert!(unsent(&mut queue).is_empty());
}

#[test]
fn confirmed_deliveries_do_not_pile_up() {
    let mut queue = Queue::default();
    for number in 0..SETTLED_KEPT * 2 {
        queue.push(number.to_string(), Class::Message, Vec::new());
        unsent(&mut queue);
        assert!(queue.confirm(&number.to_string(), Class::Message, Confirmation::Receipt));
    }
    assert_eq!(queue.0.len(), SETTLED_KEPT);
}

#[test]
fn a_queue_survives_the_state_file_and_sends_again_what_was_not_confirmed() {
    let mut before = queue(&["a", "b", "c"]);
    unsent(&mut before);
    assert!(before.confirm("b", Class::Message, Confirmation::Receipt));
    let mut after: Queue = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
    assert_eq!(after.messages(), 2);
    assert_eq!(unsent(&mut after), ["a", "c"]);
}
