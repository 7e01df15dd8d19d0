//! What every layer does.

use std::time::Duration;

use holdfast::ports::layer::{Kept, LayerError, Reading};
use holdfast_core::id::DatabaseId;
use holdfast_core::restoration::neighbours::Signs;

use super::bench::{Place, copy, copy_of, id, read, revision};

type Outcome = anyhow::Result<()>;

pub(super) async fn a_copy_comes_back_as_it_was(place: &impl Place) -> Outcome {
    let written = copy_of("shop", 3, 7, 300_000);
    place.layer().write(&written).await?;
    let Reading::Found(found) = read(place.layer(), "shop").await else { panic!("it was written") };
    assert!(found.copy == written);
    assert_eq!(found.revision, written.header.revision);
    assert!(found.age >= Duration::from_secs(60) && found.age < Duration::from_secs(600), "{:?}", found.age);
    assert_eq!(place.layer().refresh(&[id("shop"), id("nobody")]).await?, [id("nobody")], "what it has no copy of");
    assert_eq!(revision(place.layer(), "shop").await, Some(7));
    Ok(())
}

pub(super) async fn what_was_never_written_is_absent(place: &impl Place) -> Outcome {
    assert_eq!(read(place.layer(), "shop").await, Reading::Absent);
    assert!(place.layer().list().await?.is_empty());
    assert_eq!(place.layer().set_aside(&id("shop")).await?, None);
    place.layer().remove(&id("shop")).await?;
    assert!(place.layer().read(&[]).await.is_empty());
    Ok(())
}

pub(super) async fn a_later_state_stays_and_an_earlier_one_goes(place: &impl Place) -> Outcome {
    for (epoch, number, expected) in
        [(2, 10, 10), (2, 9, 10), (2, 11, 11), (1, 99, 11), (3, 5, 5), (3, 5, 5), (16, 1, 1)]
    {
        let kept = place.layer().write(&copy("shop", epoch, number)).await?;
        assert_eq!(revision(place.layer(), "shop").await, Some(expected), "after {epoch}, {number}");
        assert_eq!(kept == Kept::Written, number == expected, "after {epoch}, {number}");
    }
    Ok(())
}

pub(super) async fn each_instance_is_read_for_itself(place: &impl Place) -> Outcome {
    let names: Vec<String> = (0..30).map(|number| format!("shop-{number:02}")).collect();
    for (revision, name) in (1..).zip(&names) {
        place.layer().write(&copy(name, 1, revision)).await?;
    }
    place.damage("shop-07").await?;
    let mut asked: Vec<_> = names.iter().map(|name| id(name)).collect();
    assert_eq!(place.layer().list().await?, asked);
    asked.insert(3, id("nobody"));
    let readings = place.layer().read(&asked).await;
    assert_eq!(readings.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), asked, "in the order of the question");
    for (instance, reading) in readings {
        match (instance.as_str(), reading) {
            ("nobody", Reading::Absent) | ("shop-07", Reading::Corrupt { .. }) => {}
            (name, Reading::Found(found)) => assert_eq!(found.copy.header.name, name),
            (name, other) => panic!("{name}: {other:?}"),
        }
    }
    Ok(())
}

pub(super) async fn what_is_removed_is_absent(place: &impl Place) -> Outcome {
    place.layer().write(&copy("shop", 1, 1)).await?;
    place.layer().write(&copy("shop", 1, 2)).await?;
    place.layer().write(&copy("cafe", 1, 1)).await?;
    place.layer().remove(&id("shop")).await?;
    assert_eq!(read(place.layer(), "shop").await, Reading::Absent);
    assert_eq!(revision(place.layer(), "cafe").await, Some(1));
    place.layer().write(&copy("shop", 1, 1)).await?;
    assert_eq!(revision(place.layer(), "shop").await, Some(1), "and may come again");
    Ok(())
}

pub(super) async fn s28_a_damaged_copy_is_named_and_set_aside(place: &impl Place) -> Outcome {
    place.layer().write(&copy("shop", 1, 1)).await?;
    place.damage("shop").await?;
    let reading = read(place.layer(), "shop").await;
    assert!(matches!(&reading, Reading::Corrupt { why } if !why.is_empty()), "{reading:?}");
    assert_eq!(place.layer().list().await?, [id("shop")], "it is there all the same");
    let aside = place.layer().set_aside(&id("shop")).await?;
    assert!(aside.is_some_and(|aside| !aside.is_empty()));
    assert_eq!(place.set_aside().await?, 1);
    assert_eq!(read(place.layer(), "shop").await, Reading::Absent);
    Ok(())
}

pub(super) async fn a_copy_under_another_name_is_no_copy(place: &impl Place) -> Outcome {
    place.layer().write(&copy("shop", 1, 1)).await?;
    place.layer().write(&copy("cafe", 1, 1)).await?;
    place.misplace("shop", "cafe").await?;
    let reading = read(place.layer(), "cafe").await;
    assert!(matches!(reading, Reading::Corrupt { .. }), "{reading:?}");
    assert_eq!(revision(place.layer(), "shop").await, Some(1));
    Ok(())
}

pub(super) async fn a_damaged_copy_keeps_nobody_from_writing_a_whole_one(place: &impl Place) -> Outcome {
    place.layer().write(&copy("shop", 1, 1)).await?;
    place.damage("shop").await?;
    place.layer().write(&copy("shop", 1, 2)).await?;
    assert_eq!(revision(place.layer(), "shop").await, Some(2));
    Ok(())
}

pub(super) async fn what_cannot_be_read_is_not_absent(place: &impl Place) -> Outcome {
    place.layer().write(&copy("shop", 1, 1)).await?;
    place.break_off().await?;
    for name in ["shop", "nobody"] {
        let reading = read(place.layer(), name).await;
        assert!(matches!(&reading, Reading::Unreadable { why } if !why.is_empty()), "{reading:?}");
    }
    let written = place.layer().write(&copy("shop", 1, 2)).await;
    assert!(matches!(written, Err(LayerError::Unavailable { .. } | LayerError::LeftAlone { .. })), "{written:?}");
    assert!(place.layer().list().await.is_err());
    assert!(place.layer().remove(&id("shop")).await.is_err());
    Ok(())
}

pub(super) async fn ids_are_names_and_never_paths(place: &impl Place) -> Outcome {
    for name in ["../up", "a/b", "a b", "añ", "*", "a%2Fb", "a?b#c"] {
        place.layer().write(&copy(name, 1, 1)).await?;
        assert_eq!(revision(place.layer(), name).await, Some(1), "{name}");
        place.layer().write(&copy(name, 1, 2)).await?;
        assert_eq!(revision(place.layer(), name).await, Some(2), "{name}");
        place.layer().remove(&id(name)).await?;
        assert_eq!(read(place.layer(), name).await, Reading::Absent, "{name}");
    }
    Ok(())
}

pub(super) async fn engines_show_that_they_live(place: &impl Place) -> Outcome {
    let layer = place.layer();
    let [ours, theirs] = [1, 2].map(|number| DatabaseId::of([number; 16]));
    let signs = |of: &[(&DatabaseId, &str)]| -> Signs {
        of.iter().map(|(database, sign)| ((*database).clone(), (*sign).to_owned())).collect()
    };
    assert!(layer.signs_of_life().await?.is_empty());
    layer.end_life(&ours).await?;
    layer.write(&copy("shop", 1, 1)).await?;
    layer.show_life(&ours, "a").await?;
    layer.show_life(&theirs, "b").await?;
    assert_eq!(layer.signs_of_life().await?, signs(&[(&ours, "a"), (&theirs, "b")]));
    layer.show_life(&ours, "c").await?;
    assert_eq!(layer.signs_of_life().await?, signs(&[(&ours, "c"), (&theirs, "b")]));
    assert_eq!(layer.list().await?, [id("shop")], "a sign is no copy");
    layer.end_life(&ours).await?;
    assert_eq!(layer.signs_of_life().await?, signs(&[(&theirs, "b")]));
    layer.show_life(&ours, "d").await?;
    assert_eq!(layer.signs_of_life().await?, signs(&[(&ours, "d"), (&theirs, "b")]));
    Ok(())
}
